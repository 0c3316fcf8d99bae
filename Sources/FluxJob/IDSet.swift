// SPDX-License-Identifier: LGPL-3.0-only

/// A set of small non-negative integers (Flux RFC 22), such as broker ranks, task ranks or core numbers.
///
/// Stored as ranges, so that `0-2147483647` costs no more than `0`. Ids are 0 to 2147483647, as in flux-core; ids
/// outside that range are ignored by everything that adds ids.
public struct IDSet: Hashable, Sendable {
  /// The largest id that a set can hold.
  public static let maximumID = 2_147_483_647

  /// Ascending, without overlap, never adjacent.
  private(set) var ranges: [ClosedRange<Int>] = []

  /// The empty set.
  public init() {}

  /// The set of the given ids, in any order.
  public init(_ ids: some Sequence<Int>) {
    if let set = ids as? IDSet {
      self = set
      return
    }
    for id in ids.sorted() where (0...Self.maximumID).contains(id) {
      append(id...id)
    }
  }

  /// The set of the ids of a range.
  public init(_ range: Range<Int>) {
    let clamped = range.clamped(to: 0..<(Self.maximumID + 1))
    if !clamped.isEmpty { ranges = [clamped.lowerBound...(clamped.upperBound - 1)] }
  }

  /// Adds a range that does not start before any range already there.
  mutating func append(_ range: ClosedRange<Int>) {
    guard let last = ranges.last, range.lowerBound <= last.upperBound + 1 else {
      ranges.append(range)
      return
    }
    ranges[ranges.count - 1] = last.lowerBound...Swift.max(last.upperBound, range.upperBound)
  }

  /// The number of ids.
  public var count: Int { ranges.reduce(0) { $0 + $1.count } }

  /// Whether there are no ids.
  public var isEmpty: Bool { ranges.isEmpty }

  /// The smallest id, nil if empty.
  public var first: Int? { ranges.first?.lowerBound }

  /// The largest id, nil if empty.
  public var last: Int? { ranges.last?.upperBound }

  /// Whether the id is in the set; logarithmic in the number of ranges.
  public func contains(_ id: Int) -> Bool {
    let position = firstRange(endingAtOrAfter: id)
    return position < ranges.count && ranges[position].contains(id)
  }

  /// The position of the first range whose upper bound is `id` or more.
  private func firstRange(endingAtOrAfter id: Int) -> Int {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = low + (high - low) / 2
      if ranges[middle].upperBound < id { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Adds an id; returns whether it was added (false if already there or out of range).
  @discardableResult
  public mutating func insert(_ id: Int) -> Bool {
    guard (0...Self.maximumID).contains(id), !contains(id) else { return false }
    let position = firstRange(endingAtOrAfter: id - 1)
    guard position < ranges.count, ranges[position].lowerBound <= id + 1 else {
      ranges.insert(id...id, at: position)
      return true
    }
    let grown = Swift.min(ranges[position].lowerBound, id)...Swift.max(ranges[position].upperBound, id)
    if position + 1 < ranges.count, ranges[position + 1].lowerBound == grown.upperBound + 1 {
      ranges[position] = grown.lowerBound...ranges[position + 1].upperBound
      ranges.remove(at: position + 1)
    } else {
      ranges[position] = grown
    }
    return true
  }

  /// Removes an id; returns whether it was there.
  @discardableResult
  public mutating func remove(_ id: Int) -> Bool {
    guard contains(id) else { return false }
    subtract(IDSet(id..<(id + 1)))
    return true
  }
}

// MARK: - Algebra

extension IDSet {
  /// The ids that are in either set.
  public func union(_ other: IDSet) -> IDSet {
    var result = IDSet()
    result.ranges.reserveCapacity(ranges.count + other.ranges.count)
    var left = ranges[...]
    var right = other.ranges[...]
    while let first = left.first, let second = right.first {
      if first.lowerBound <= second.lowerBound {
        result.append(first)
        left.removeFirst()
      } else {
        result.append(second)
        right.removeFirst()
      }
    }
    for range in left { result.append(range) }
    for range in right { result.append(range) }
    return result
  }

  /// The ids that are in any of these sets; all are put in order at once.
  public static func union(of sets: some Sequence<IDSet>) -> IDSet {
    var result = IDSet()
    for range in sets.flatMap(\.ranges).sorted(by: { $0.lowerBound < $1.lowerBound }) { result.append(range) }
    return result
  }

  /// The ids that are in both sets.
  public func intersection(_ other: IDSet) -> IDSet {
    var result = IDSet()
    var left = 0
    var right = 0
    while left < ranges.count, right < other.ranges.count {
      let (first, second) = (ranges[left], other.ranges[right])
      let low = Swift.max(first.lowerBound, second.lowerBound)
      let high = Swift.min(first.upperBound, second.upperBound)
      if low <= high { result.append(low...high) }
      if first.upperBound < second.upperBound { left += 1 } else { right += 1 }
    }
    return result
  }

  /// The ids that are in this set but not in the other.
  public func subtracting(_ other: IDSet) -> IDSet {
    var result = IDSet()
    var right = 0
    for range in ranges {
      var low = range.lowerBound
      while right < other.ranges.count, other.ranges[right].upperBound < low { right += 1 }
      var cut = right
      while cut < other.ranges.count, other.ranges[cut].lowerBound <= range.upperBound {
        if other.ranges[cut].lowerBound > low { result.append(low...(other.ranges[cut].lowerBound - 1)) }
        low = other.ranges[cut].upperBound + 1
        cut += 1
      }
      if low <= range.upperBound { result.append(low...range.upperBound) }
    }
    return result
  }

  /// Adds the ids of the other set.
  public mutating func formUnion(_ other: IDSet) { self = union(other) }

  /// Removes the ids of the other set.
  public mutating func subtract(_ other: IDSet) { self = subtracting(other) }
}

// MARK: - Sequence

extension IDSet: Sequence, ExpressibleByArrayLiteral {
  /// Walks the ids in ascending order.
  public struct Iterator: IteratorProtocol {
    var ranges: IndexingIterator<[ClosedRange<Int>]>
    var current: ClosedRange<Int>?
    var id = 0

    /// The next id, nil at the end.
    public mutating func next() -> Int? {
      if current == nil {
        guard let range = ranges.next() else { return nil }
        current = range
        id = range.lowerBound
      }
      defer { id += 1 }
      if id == current?.upperBound { current = nil }
      return id
    }
  }

  /// An iterator over the ids in ascending order.
  public func makeIterator() -> Iterator { Iterator(ranges: ranges.makeIterator()) }

  /// The set of the given ids, in any order.
  public init(arrayLiteral elements: Int...) { self.init(elements) }
}
