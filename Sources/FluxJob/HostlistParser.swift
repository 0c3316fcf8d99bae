// SPDX-License-Identifier: LGPL-3.0-only

/// Expands the text of a hostlist, with limits on everything that the text can multiply.
struct HostlistParser {
  static let maximumRanges = 10240
  private static let maximumNameBytes = 1023
  /// Bounds the memory of all names together.
  private static let maximumBytes = 64 << 20

  private struct Range {
    var low: UInt64
    var high: UInt64
    var width: Int
  }

  private let bytes: [UInt8]
  private var position = 0
  private var hosts: [String] = []
  private var usedBytes = 0

  init(_ text: String) { bytes = Array(text.utf8) }

  mutating func parse() throws(FormatError) -> [String] {
    while let element = nextElement() {
      guard let open = element.firstIndex(of: UInt8(ascii: "[")) else {
        if let close = element.firstIndex(of: UInt8(ascii: "]")) { throw error("unbalanced ']'", close) }
        try append(String(decoding: element, as: UTF8.self), at: element.startIndex)
        continue
      }
      guard let close = element[open...].firstIndex(of: UInt8(ascii: "]")) else { throw error("unbalanced '['", open) }
      let prefix = String(decoding: element[..<open], as: UTF8.self)
      let suffix = String(decoding: element[(close + 1)...], as: UTF8.self)
      for range in try ranges(element[(open + 1)..<close]) {
        for number in range.low...range.high {
          try append(prefix + HostName.padded(number, width: range.width) + suffix, at: element.startIndex)
        }
      }
    }
    return hosts
  }

  private func error(_ message: String, _ offset: Int) -> FormatError {
    FormatError(.hostlist, "invalid hostlist: \(message)", offset: offset)
  }

  /// The next element between separators outside of brackets, nil at the end.
  private mutating func nextElement() -> ArraySlice<UInt8>? {
    func isSeparator(_ byte: UInt8) -> Bool { byte == UInt8(ascii: ",") || byte == 0x20 || byte == 0x09 }
    while position < bytes.count, isSeparator(bytes[position]) { position += 1 }
    guard position < bytes.count else { return nil }
    let start = position
    var level = 0
    while position < bytes.count, level != 0 || !isSeparator(bytes[position]) {
      if bytes[position] == UInt8(ascii: "[") { level += 1 }
      if bytes[position] == UInt8(ascii: "]") { level -= 1 }
      position += 1
    }
    return bytes[start..<position]
  }

  private mutating func append(_ host: String, at offset: Int) throws(FormatError) {
    let size = host.utf8.count
    guard size <= Self.maximumNameBytes else {
      throw error("a host name is longer than \(Self.maximumNameBytes) bytes", offset)
    }
    guard hosts.count < Hostlist.maximumCount else { throw error("more than \(Hostlist.maximumCount) hosts", offset) }
    usedBytes += size
    guard usedBytes <= Self.maximumBytes else {
      throw error("the names together are longer than \(Self.maximumBytes) bytes", offset)
    }
    hosts.append(host)
  }

  private func ranges(_ text: ArraySlice<UInt8>) throws(FormatError) -> [Range] {
    let elements = text.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
    guard elements.count <= Self.maximumRanges else {
      throw error("more than \(Self.maximumRanges) ranges in brackets", text.startIndex)
    }
    var ranges: [Range] = []
    ranges.reserveCapacity(elements.count)
    for element in elements { ranges.append(try range(element)) }
    return ranges
  }

  /// Parses `N`, `N-M` or `N-` (the same as `N`); spaces before a number are skipped and count for the width.
  private func range(_ text: ArraySlice<UInt8>) throws(FormatError) -> Range {
    let invalid = "invalid range '\(String(decoding: text, as: UTF8.self).excerpt)'"
    guard let dash = text.firstIndex(of: UInt8(ascii: "-")) else {
      guard let low = Self.number(text) else { throw error(invalid, text.startIndex) }
      return Range(low: low, high: low, width: text.count)
    }
    let lowText = text[..<dash]
    let highText = text[(dash + 1)...]
    // As measured, `1 - 3` is accepted, but nothing may follow the number that ends the range.
    let trimmed = highText.isEmpty ? lowText : Self.withoutTrailingSpace(lowText)
    guard let low = Self.number(trimmed), let high = highText.isEmpty ? low : Self.number(highText), low <= high else {
      throw error(invalid, text.startIndex)
    }
    guard high - low < UInt64(Hostlist.maximumCount) else { throw error("range too large", text.startIndex) }
    return Range(low: low, high: high, width: lowText.count)
  }

  private static func withoutTrailingSpace(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    var text = text
    while text.last == 0x20 || text.last == 0x09 { text.removeLast() }
    return text
  }

  private static func number(_ text: ArraySlice<UInt8>) -> UInt64? {
    let digits = text.drop { $0 == 0x20 || $0 == 0x09 }
    guard !digits.isEmpty else { return nil }
    var value: UInt64 = 0
    for byte in digits {
      let digit = byte &- UInt8(ascii: "0")
      guard digit < 10 else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }
}
