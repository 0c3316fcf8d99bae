// SPDX-License-Identifier: LGPL-3.0-only

extension IDSet: CustomStringConvertible {
  /// Parses text such as `0-3,5` or `[0-3,5]`, with the rules of flux-core.
  ///
  /// Ids ascend strictly, have no leading zeros and no spaces; a range ends above its start; empty elements are skipped;
  /// the empty text is the empty set.
  /// - Throws: ``FormatError`` with code `idset` and the byte offset.
  public init(parsing text: String) throws(FormatError) {
    var bytes = Array(text.utf8)[...]
    if bytes.count >= 2, bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") {
      bytes = bytes.dropFirst().dropLast()
    }
    if let offset = bytes.firstIndex(where: { $0 == UInt8(ascii: "[") || $0 == UInt8(ascii: "]") }) {
      throw FormatError(.idset, "idset '\(text.excerpt)': mismatched or nested brackets", offset: offset)
    }
    for element in bytes.split(separator: UInt8(ascii: ",")) {
      guard let range = Self.parseRange(element) else {
        throw FormatError(
          .idset, "error parsing range '\(String(decoding: element, as: UTF8.self).excerpt)'",
          offset: element.startIndex)
      }
      if let last, range.lowerBound <= last {
        throw FormatError(
          .idset, "range '\(String(decoding: element, as: UTF8.self).excerpt)' is out of order",
          offset: element.startIndex)
      }
      append(range)
    }
  }

  private static func parseRange(_ text: ArraySlice<UInt8>) -> ClosedRange<Int>? {
    let bounds = text.split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
    guard bounds.count <= 2, let first = bounds.first, let low = parseID(first) else { return nil }
    guard bounds.count == 2 else { return low...low }
    guard let high = parseID(bounds[1]), high > low else { return nil }
    return low...high
  }

  private static func parseID(_ digits: ArraySlice<UInt8>) -> Int? {
    guard let first = digits.first, digits.count <= 10, first != UInt8(ascii: "0") || digits.count == 1 else {
      return nil
    }
    var value = 0
    for byte in digits {
      let digit = byte &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      value = value * 10 + Int(digit)  // ten digits at most
    }
    return value <= maximumID ? value : nil
  }

  /// The compact text, such as `0-3,5`; empty for the empty set.
  public var description: String {
    var text = ""
    for range in ranges {
      if !text.isEmpty { text += "," }
      text += String(range.lowerBound)
      if range.count > 1 { text += "-\(range.upperBound)" }
    }
    return text
  }

  /// The compact text in brackets, such as `[0-3,5]`; without brackets if there are fewer than two ids.
  public var bracketed: String {
    count > 1 ? "[\(description)]" : description
  }
}
