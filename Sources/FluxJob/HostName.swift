// SPDX-License-Identifier: LGPL-3.0-only

/// A host name, split into a prefix and the number at its end.
struct HostName: Comparable {
  /// The whole name.
  let text: String
  /// What comes before the number; the whole name if there is none.
  let prefix: String
  /// The number at the end; nil if there is none or if it does not fit in 64 bits.
  let number: UInt64?
  /// How many digits the number is written with.
  var width: Int

  init(_ text: String) {
    self.text = text
    let digits = text.utf8.reversed().prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }.count
    let split = text.utf8.index(text.utf8.endIndex, offsetBy: -digits)
    number = digits == 0 ? nil : UInt64(text[split...])
    width = number == nil ? 0 : digits
    prefix = number == nil ? text : String(text[..<split])
  }

  /// Orders by the bytes of the prefix, then names without a number first, then by width and number.
  static func < (left: HostName, right: HostName) -> Bool {
    guard left.prefix == right.prefix else {
      return left.prefix.utf8.lexicographicallyPrecedes(right.prefix.utf8)
    }
    guard let first = left.number, let second = right.number else {
      return left.number == nil && right.number != nil
    }
    return (left.width, first) < (right.width, second)
  }

  /// The width with which both numbers can be written in one range, nil if their zero padding differs.
  static func commonWidth(_ first: UInt64, _ firstWidth: Int, _ second: UInt64, _ secondWidth: Int) -> Int? {
    if padding(first, firstWidth) == padding(first, secondWidth) { return secondWidth }
    if padding(second, secondWidth) == padding(second, firstWidth) { return firstWidth }
    return nil
  }

  /// How many zeros a number has in front at a width.
  private static func padding(_ number: UInt64, _ width: Int) -> Int {
    var digits = 1
    var rest = number / 10
    while rest > 0 {
      digits += 1
      rest /= 10
    }
    return max(0, width - digits)
  }

  /// The number with zeros in front up to a width.
  static func padded(_ number: UInt64, width: Int) -> String {
    let digits = String(number)
    return digits.utf8.count < width ? String(repeating: "0", count: width - digits.utf8.count) + digits : digits
  }
}
