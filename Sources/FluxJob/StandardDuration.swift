// SPDX-License-Identifier: LGPL-3.0-only

/// A span of time, in Flux standard duration form (Flux RFC 23).
public struct StandardDuration: Hashable, Sendable {
  /// The duration in seconds: 0 or more, possibly infinite.
  public var seconds: Double

  /// A duration in seconds.
  public init(seconds: Double) { self.seconds = seconds }

  /// Parses a number with an optional unit `ms`, `s` (the default), `m`, `h` or `d`, or `inf`, `infinity`.
  /// - Throws: ``FormatError`` with code `fsd`: not a number, negative, or infinity with a unit.
  public init(parsing text: String) throws(FormatError) {
    if let value = Self.number(text[...]) {
      seconds = value
      return
    }
    let units: [(suffix: String, seconds: Double)] = [("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]
    for (suffix, factor) in units where text.hasSuffix(suffix) {
      guard let value = Self.number(text.dropLast(suffix.count)), value.isFinite else { break }
      seconds = value * factor
      return
    }
    throw FormatError(
      .duration, "'\(text.excerpt)' is not a Flux standard duration such as 30, 500ms, 10m, 1.5h, 2d or inf")
  }

  private static func number(_ text: Substring) -> Double? {
    // `Double` stops at a NUL, so what may be part of a number is checked here.
    guard text.utf8.count <= 512, text.utf8.allSatisfy({ isPartOfNumber($0) }), let value = Double(text), value >= 0
    else { return nil }
    return value
  }

  private static func isPartOfNumber(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
      UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "."), UInt8(ascii: "+"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}

extension StandardDuration: CustomStringConvertible {
  /// The duration as Flux prints it: six significant digits in the largest unit that is not above it, such as `1.5h`.
  public var description: String {
    switch seconds {
    case .infinity: "infinity"
    case 0: "0s"
    case ..<0.1: Self.sixDigits(seconds * 1000) + "ms"
    case ..<60: Self.sixDigits(seconds) + "s"
    case ..<3600: Self.sixDigits(seconds / 60) + "m"
    case ..<86400: Self.sixDigits(seconds / 3600) + "h"
    default: Self.sixDigits(seconds / 86400) + "d"
    }
  }

  /// The number like `%.6g` of C.
  private static func sixDigits(_ number: Double) -> String {
    guard number.isFinite, number != 0 else { return number.description }
    var (digits, exponent) = decimal(number.magnitude)
    if digits.count > 6 {
      let roundUp = roundsUp(number.magnitude, digits, exponent)
      digits.removeLast(digits.count - 6)
      if roundUp { increment(&digits, &exponent) }
    }
    while digits.count > 1, digits.last == 0 { digits.removeLast() }
    let text = digits.map { String($0) }.joined()
    return (number < 0 ? "-" : "") + layout(text, exponent)
  }

  /// The digits of the shortest form of a positive number, and the power of ten of the first of them.
  private static func decimal(_ number: Double) -> (digits: [Int], exponent: Int) {
    let parts = number.description.split(separator: "e")
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    var exponent = (parts.count > 1 ? Int(parts[1]) ?? 0 : 0) + mantissa[0].count - 1
    var digits = mantissa.joined().compactMap(\.wholeNumberValue)
    while digits.count > 1, digits.first == 0 {
      digits.removeFirst()
      exponent -= 1
    }
    return (digits, exponent)
  }

  /// Whether the digits after the sixth are more than half; an exact half rounds to even, as in C.
  private static func roundsUp(_ number: Double, _ digits: [Int], _ exponent: Int) -> Bool {
    let scale = 6 - exponent
    let shift = 52 - number.exponent
    guard digits.count == 7, digits[6] == 5, (0...18).contains(scale), (0...100).contains(shift) else {
      return digits[6] >= 5
    }
    // The digits may be rounded themselves: compares number * 10^scale with them, both times 2^shift.
    var exact = UInt128(number.significandBitPattern | 1 << 52)
    for _ in 0..<scale { exact *= 10 }
    let half = digits.reduce(UInt128(0)) { $0 * 10 + UInt128($1) } << UInt128(shift)
    return exact == half ? digits[5] % 2 == 1 : exact > half
  }

  private static func increment(_ digits: inout [Int], _ exponent: inout Int) {
    for position in digits.indices.reversed() {
      if digits[position] < 9 {
        digits[position] += 1
        return
      }
      digits[position] = 0
    }
    digits = [1] + digits.dropLast()
    exponent += 1
  }

  private static func layout(_ digits: String, _ exponent: Int) -> String {
    if exponent < -4 || exponent >= 6 {
      let mantissa = digits.count > 1 ? digits.prefix(1) + "." + digits.dropFirst() : digits[...]
      let magnitude = String(exponent.magnitude)
      return mantissa + "e" + (exponent < 0 ? "-" : "+") + (magnitude.count < 2 ? "0" : "") + magnitude
    }
    if exponent < 0 { return "0." + String(repeating: "0", count: -exponent - 1) + digits }
    if digits.count <= exponent + 1 { return digits + String(repeating: "0", count: exponent + 1 - digits.count) }
    return digits.prefix(exponent + 1) + "." + digits.dropFirst(exponent + 1)
  }
}
