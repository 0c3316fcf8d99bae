// SPDX-License-Identifier: LGPL-3.0-only

/// Long runs of combining marks in text that comes from outside, put into their canonical order.
///
/// Swift normalises text that is not ASCII before it is hashed, and where two texts differ; and it sorts each run of marks by insertion, in quadratic
/// time. A run as long as a message may be would take days. Sorted beforehand, in better time, it takes none: marks in another
/// order that is canonically equivalent are the same text, to Unicode and to Swift's `==`.
enum CombiningMarks {
  /// How many marks may follow each other in any order. Nobody writes so many.
  static let maximumRun = 64

  /// The same text, valid UTF-8, with its long runs in order; nil when it is so already.
  static func ordered(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    var result: [UInt8]?
    var copied = 0
    var position = 0
    while let run = nextLongRun(in: text, from: position) {
      position = run.upperBound
      guard let sorted = sorted(text, run) else { continue }
      var bytes = result ?? []
      bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied..<run.lowerBound]))
      for scalar in sorted { bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter) }
      copied = run.upperBound
      result = bytes
    }
    result?.append(contentsOf: UnsafeBufferPointer(rebasing: text[copied...]))
    return result
  }

  // MARK: Runs

  /// The fewest bytes of a long run: a mark has two or more.
  private static let shortestRun = 2 * (maximumRun + 1)

  /// The next run of more than ``maximumRun`` marks. Most of the text is not looked at: a byte in each stretch as long as such a run tells.
  private static func nextLongRun(in text: UnsafeBufferPointer<UInt8>, from start: Int) -> Range<Int>? {
    var start = start
    while text.count - start >= shortestRun {
      let probe = beginning(of: start + shortestRun - 1, in: text)
      guard isMark(at: probe, in: text) else {
        start += shortestRun
        // Between two scalars.
        if start < text.count { start = beginning(of: start, in: text) }
        continue
      }
      var (low, high, count) = (probe, probe, 0)
      while low > start {
        let before = beginning(of: low - 1, in: text)
        guard isMark(at: before, in: text) else { break }
        (low, count) = (before, count + 1)
      }
      while high < text.count, isMark(at: high, in: text) { (high, count) = (high + length(text[high]), count + 1) }
      if count > maximumRun { return low..<high }
      start = high
    }
    return nil
  }

  /// The marks of a run in order, those of one class as they stand; nil when they are in order.
  private static func sorted(_ text: UnsafeBufferPointer<UInt8>, _ run: Range<Int>) -> [Unicode.Scalar]? {
    var marks: [(scalar: Unicode.Scalar, rank: Int)] = []
    var position = run.lowerBound
    var isOrdered = true
    while position < run.upperBound {
      let scalar = scalar(at: position, in: text)
      position += length(text[position])
      let rank = Int(scalar.properties.canonicalCombiningClass.rawValue)
      if let last = marks.last, last.rank > rank { isOrdered = false }
      marks.append((scalar, rank))
    }
    guard !isOrdered else { return nil }
    var classes: [[Unicode.Scalar]] = Array(repeating: [], count: 256)
    for mark in marks { classes[mark.rank].append(mark.scalar) }
    return classes.flatMap { $0 }
  }

  // MARK: Scalars

  private static func isMark(at position: Int, in text: UnsafeBufferPointer<UInt8>) -> Bool {
    // U+0300 is the first.
    guard text[position] >= 0xCC else { return false }
    return scalar(at: position, in: text).properties.canonicalCombiningClass != .notReordered
  }

  /// Where the scalar begins that a byte is of.
  private static func beginning(of position: Int, in text: UnsafeBufferPointer<UInt8>) -> Int {
    var position = position
    while position > 0, text[position] & 0xC0 == 0x80 { position -= 1 }
    return position
  }

  private static func length(_ first: UInt8) -> Int {
    switch first {
    case ..<0x80: 1
    case ..<0xE0: 2
    case ..<0xF0: 3
    default: 4
    }
  }

  private static func scalar(at position: Int, in text: UnsafeBufferPointer<UInt8>) -> Unicode.Scalar {
    let end = min(position + length(text[position]), text.count)
    var iterator = UnsafeBufferPointer(rebasing: text[position..<end]).makeIterator()
    var decoder = UTF8()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator) else { return "\u{FFFD}" }
    return scalar
  }
}

extension String {
  /// The same text, canonically equivalent, with each long run of combining marks in order: text from outside is hashed and compared in linear time then.
  public var withOrderedMarks: String {
    // Most text is ASCII, and has none.
    let ordered = utf8.withContiguousStorageIfAvailable { CombiningMarks.ordered($0) }
    let bytes = ordered ?? Array(utf8).withUnsafeBufferPointer { CombiningMarks.ordered($0) }
    return bytes.map { String(decoding: $0, as: UTF8.self) } ?? self
  }
}
