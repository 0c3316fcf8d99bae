// SPDX-License-Identifier: LGPL-3.0-only

/// Recursive-descent parser of RFC 8259 text over a buffer of bytes; the depth is limited.
struct JSONParser {
  private let bytes: UnsafeBufferPointer<UInt8>
  private let depthLimit: Int
  private var position = 0

  private init(_ bytes: UnsafeBufferPointer<UInt8>, depthLimit: Int) {
    self.bytes = bytes
    self.depthLimit = depthLimit
  }

  static func parse(_ bytes: UnsafeBufferPointer<UInt8>, limits: JSON.Limits) -> Result<JSON, FormatError> {
    guard bytes.count <= limits.bytes else {
      return .failure(FormatError(.json, "JSON of \(bytes.count) bytes: more than \(limits.bytes) are not accepted"))
    }
    var parser = JSONParser(bytes, depthLimit: min(limits.depth, 512))
    do throws(FormatError) {
      return .success(try parser.document())
    } catch {
      return .failure(error)
    }
  }

  private mutating func document() throws(FormatError) -> JSON {
    skipSpace()
    let value = try value(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw error("unexpected text after the JSON value") }
    return value
  }

  private func error(_ message: String) -> FormatError { FormatError(.json, message, offset: position) }

  /// The byte at the position, nil at the end.
  private var current: UInt8? {
    position < bytes.count ? bytes[position] : nil
  }

  private mutating func skipSpace() {
    while position < bytes.count {
      switch bytes[position] {
      case 0x20, 0x0A, 0x0D, 0x09: position += 1
      default: return
      }
    }
  }

  private mutating func value(depth: Int, isAsWritten: Bool = false) throws(FormatError) -> JSON {
    guard let current else { throw error("unexpected end of JSON text") }
    switch current {
    case UInt8(ascii: "\""): return .string(try string(isAsWritten: isAsWritten))
    case UInt8(ascii: "{"): return .object(try object(depth: depth + 1))
    case UInt8(ascii: "["): return .array(try array(depth: depth + 1))
    case UInt8(ascii: "t"): return try literal("true", .bool(true))
    case UInt8(ascii: "f"): return try literal("false", .bool(false))
    case UInt8(ascii: "n"): return try literal("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw error("unexpected character in JSON text")
    }
  }

  private mutating func literal(_ word: StaticString, _ value: JSON) throws(FormatError) -> JSON {
    let end = position + word.utf8CodeUnitCount
    guard end <= bytes.count else { throw error("unexpected end of JSON text") }
    for offset in 0..<word.utf8CodeUnitCount where bytes[position + offset] != word.utf8Start[offset] {
      throw error("expected \(word)")
    }
    position = end
    return value
  }

  private mutating func array(depth: Int) throws(FormatError) -> [JSON] {
    guard depth <= depthLimit else { throw error("JSON nested deeper than \(depthLimit)") }
    position += 1
    skipSpace()
    var elements: [JSON] = []
    if current == UInt8(ascii: "]") {
      position += 1
      return elements
    }
    while true {
      elements.append(try value(depth: depth))
      skipSpace()
      switch current {
      case UInt8(ascii: ","):
        position += 1
        skipSpace()
      case UInt8(ascii: "]"):
        position += 1
        return elements
      case nil: throw error("unexpected end of JSON text in an array")
      default: throw error("expected ',' or ']'")
      }
    }
  }

  private mutating func object(depth: Int) throws(FormatError) -> JSONObject {
    guard depth <= depthLimit else { throw error("JSON nested deeper than \(depthLimit)") }
    position += 1
    skipSpace()
    var members = JSONObject()
    if current == UInt8(ascii: "}") {
      position += 1
      return members
    }
    while true {
      guard current == UInt8(ascii: "\"") else {
        throw error(current == nil ? "unexpected end of JSON text in an object" : "expected a key in quotes")
      }
      let key = try string()
      skipSpace()
      guard current == UInt8(ascii: ":") else { throw error("expected ':'") }
      position += 1
      skipSpace()
      members[key] = try value(depth: depth, isAsWritten: Self.isAsWritten(key))
      skipSpace()
      switch current {
      case UInt8(ascii: ","):
        position += 1
        skipSpace()
      case UInt8(ascii: "}"):
        position += 1
        return members
      case nil: throw error("unexpected end of JSON text in an object")
      default: throw error("expected ',' or '}'")
      }
    }
  }
}

// MARK: - Strings

extension JSONParser {
  /// Whether a member has the input or the output of programs in it, or lines of a log that these are in. That is never compared, and stays as it is
  /// byte for byte; in all else, long runs of combining marks are put in order.
  private static func isAsWritten(_ key: String) -> Bool {
    switch key.utf8.count {
    case 4: key == "data"
    case 5: key == "event"
    case 11, 12: key == "guest.input" || key == "guest.output"
    default: false
    }
  }

  /// Parses a string; the position is at its opening quote.
  ///
  /// - Parameter isAsWritten: whether combining marks stay in the order that they are in.
  private mutating func string(isAsWritten: Bool = false) throws(FormatError) -> String {
    position += 1
    let start = position
    let end = try endOfPlainText()
    if bytes[end] == UInt8(ascii: "\"") {
      position = end + 1
      return try validated(UnsafeBufferPointer(rebasing: bytes[start..<end]), start: start, isAsWritten: isAsWritten)
    }
    position = end
    let text = try escapedString(start: start)
    return try text.withUnsafeBufferPointer { buffer throws(FormatError) in
      try validated(buffer, start: start, isAsWritten: isAsWritten)
    }
  }

  /// The offset of the next quote or backslash, at or after the position; always within the buffer.
  private mutating func endOfPlainText() throws(FormatError) -> Int {
    var end = position
    while end < bytes.count {
      let byte = bytes[end]
      if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { return end }
      if byte < 0x20 {
        position = end
        throw error("control character in a JSON string")
      }
      end += 1
    }
    position = end
    throw error("unexpected end of JSON text in a string")
  }

  private func validated(
    _ text: UnsafeBufferPointer<UInt8>, start: Int, isAsWritten: Bool
  ) throws(FormatError) -> String {
    // Most text is ASCII, which needs no validation; that by the library is slow for short text.
    var bits: UInt8 = 0
    for byte in text { bits |= byte }
    if bits < 0x80 { return String(decoding: text, as: UTF8.self) }
    guard let string = String(validating: text, as: UTF8.self) else {
      throw FormatError(.json, "invalid UTF-8 in a JSON string", offset: start)
    }
    guard !isAsWritten, let ordered = CombiningMarks.ordered(text) else { return string }
    return String(decoding: ordered, as: UTF8.self)
  }

  /// Parses the rest of a string, and returns its bytes; the position is at its first backslash.
  private mutating func escapedString(start: Int) throws(FormatError) -> [UInt8] {
    var text = Array(bytes[start..<position])
    while true {
      let end = try endOfPlainText()
      text.append(contentsOf: bytes[position..<end])
      position = end + 1
      if bytes[end] == UInt8(ascii: "\"") { break }
      try appendEscape(to: &text)
    }
    return text
  }

  /// Decodes one escape; the position is after its backslash.
  private mutating func appendEscape(to text: inout [UInt8]) throws(FormatError) {
    guard let byte = current else { throw error("unexpected end of JSON text in a string") }
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      position += 1
      let scalar = try unicodeEscape()
      text.append(contentsOf: String(Character(scalar)).utf8)
      return
    default: throw error("unknown escape in a JSON string")
    }
    position += 1
  }

  /// Decodes the digits after `\u`, and a second escape if the first is a high surrogate.
  private mutating func unicodeEscape() throws(FormatError) -> Unicode.Scalar {
    let first = try fourHexDigits()
    if let scalar = Unicode.Scalar(first) { return scalar }
    guard first < 0xDC00, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
      bytes[position + 1] == UInt8(ascii: "u")
    else { throw error("lone surrogate in a JSON string") }
    position += 2
    let second = try fourHexDigits()
    guard (0xDC00...0xDFFF).contains(second),
      let scalar = Unicode.Scalar(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
    else { throw error("lone surrogate in a JSON string") }
    return scalar
  }

  private mutating func fourHexDigits() throws(FormatError) -> UInt32 {
    guard bytes.count - position >= 4 else { throw error("unexpected end of JSON text in a string") }
    var value: UInt32 = 0
    for offset in 0..<4 {
      guard let digit = hexDigitValue(bytes[position + offset]) else {
        throw error("expected four hex digits after \\u")
      }
      value = value << 4 | UInt32(digit)
    }
    position += 4
    return value
  }
}

// MARK: - Numbers

extension JSONParser {
  /// Powers of ten that a `Double` represents exactly.
  private static let powersOfTen: [Double] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
  ]

  /// What the scan of a number found; `mantissa` is nil if it does not fit in 64 bits.
  private struct Scan {
    var mantissa: UInt64? = 0
    var fractionDigits = 0

    mutating func append(_ digit: UInt8) {
      guard let value = mantissa else { return }
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      mantissa = overflow || carry ? nil : sum
    }
  }

  private mutating func number() throws(FormatError) -> JSON {
    let start = position
    let negative = bytes[position] == UInt8(ascii: "-")
    if negative { position += 1 }
    var scan = Scan()
    try digits(into: &scan, allowLeadingZero: false)
    var integral = true
    if current == UInt8(ascii: ".") {
      position += 1
      integral = false
      let first = position
      try digits(into: &scan, allowLeadingZero: true)
      scan.fractionDigits = position - first
    }
    var exponent: Int? = 0
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      integral = false
      exponent = try self.exponent()
    }
    if integral, let value = scan.mantissa {
      if !negative, let int = Int64(exactly: value) { return .int(int) }
      if negative, value <= UInt64(Int64.max) + 1 { return .int(Int64(truncatingIfNeeded: 0 &- value)) }
    }
    return .double(try double(scan, exponent: exponent, negative: negative, start: start))
  }

  private mutating func digits(into scan: inout Scan, allowLeadingZero: Bool) throws(FormatError) {
    let start = position
    while position < bytes.count {
      let digit = bytes[position] &- UInt8(ascii: "0")
      guard digit < 10 else { break }
      scan.append(digit)
      position += 1
    }
    guard position > start else { throw error("expected a digit") }
    if !allowLeadingZero, bytes[start] == UInt8(ascii: "0"), position - start > 1 {
      position = start
      throw error("number with a leading zero")
    }
  }

  /// Parses `e`, sign and digits; nil if the exponent is too large to matter.
  private mutating func exponent() throws(FormatError) -> Int? {
    position += 1
    var negative = false
    if let sign = current, sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") {
      negative = sign == UInt8(ascii: "-")
      position += 1
    }
    var scan = Scan()
    try digits(into: &scan, allowLeadingZero: true)
    guard let value = scan.mantissa, value < 100_000 else { return nil }
    return negative ? -Int(value) : Int(value)
  }

  private func double(_ scan: Scan, exponent: Int?, negative: Bool, start: Int) throws(FormatError) -> Double {
    if let mantissa = scan.mantissa, mantissa <= 1 << 53, let exponent {
      // Both operands are exact, so the one rounding is correct.
      let scale = exponent - scan.fractionDigits
      let value = Double(mantissa) * (negative ? -1 : 1)
      if (0...22).contains(scale) { return value * Self.powersOfTen[scale] }
      if (-22..<0).contains(scale) { return value / Self.powersOfTen[-scale] }
    }
    let text = String(decoding: UnsafeBufferPointer(rebasing: bytes[start..<position]), as: UTF8.self)
    guard let value = Double(text), value.isFinite else {
      throw FormatError(.json, "number out of range", offset: start)
    }
    return value
  }
}

/// The value of a hexadecimal digit, nil if the byte is none.
func hexDigitValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
  default: nil
  }
}
