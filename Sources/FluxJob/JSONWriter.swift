// SPDX-License-Identifier: LGPL-3.0-only

/// Writes JSON as UTF-8: compact, or with a space after each comma and colon between values.
enum JSONWriter {
  static func write(_ value: JSON, spaced: Bool = false, to bytes: inout [UInt8]) {
    switch value {
    case .null: append("null", to: &bytes)
    case .bool(true): append("true", to: &bytes)
    case .bool(false): append("false", to: &bytes)
    case .int(let number): write(number, to: &bytes)
    case .double(let number): write(number, to: &bytes)
    case .string(let text): write(text, to: &bytes)
    case .array(let elements):
      bytes.append(UInt8(ascii: "["))
      var first = true
      for element in elements {
        if !first { separate(",", spaced, &bytes) }
        first = false
        write(element, spaced: spaced, to: &bytes)
      }
      bytes.append(UInt8(ascii: "]"))
    case .object(let members): write(members, spaced: spaced, to: &bytes)
    }
  }

  static func write(_ members: JSONObject, spaced: Bool = false, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "{"))
    var first = true
    for (key, value) in members {
      if !first { separate(",", spaced, &bytes) }
      first = false
      write(key, to: &bytes)
      separate(":", spaced, &bytes)
      write(value, spaced: spaced, to: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
  }

  private static func separate(_ character: Unicode.Scalar, _ spaced: Bool, _ bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: character))
    if spaced { bytes.append(UInt8(ascii: " ")) }
  }

  private static func append(_ text: StaticString, to bytes: inout [UInt8]) {
    bytes.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  private static func write(_ number: Int64, to bytes: inout [UInt8]) {
    if number < 0 { bytes.append(UInt8(ascii: "-")) }
    let start = bytes.count
    var rest = number.magnitude
    repeat {
      bytes.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
      rest /= 10
    } while rest > 0
    bytes[start...].reverse()
  }

  /// The shortest text that reads back as the same number; it has a fraction or an exponent.
  private static func write(_ number: Double, to bytes: inout [UInt8]) {
    guard number.isFinite else {
      append("null", to: &bytes)
      return
    }
    bytes.append(contentsOf: number.description.utf8)
  }

  private static func write(_ text: String, to bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    let written: Void? = text.utf8.withContiguousStorageIfAvailable { writeContents($0, to: &bytes) }
    if written == nil {
      Array(text.utf8).withUnsafeBufferPointer { writeContents($0, to: &bytes) }
    }
    bytes.append(UInt8(ascii: "\""))
  }

  /// Copies runs of plain bytes and escapes the others.
  private static func writeContents(_ text: UnsafeBufferPointer<UInt8>, to bytes: inout [UInt8]) {
    var start = 0
    var end = 0
    while end < text.count {
      let byte = text[end]
      if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
        bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[start..<end]))
        writeEscape(byte, to: &bytes)
        start = end + 1
      }
      end += 1
    }
    bytes.append(contentsOf: UnsafeBufferPointer(rebasing: text[start..<end]))
  }

  private static func writeEscape(_ byte: UInt8, to bytes: inout [UInt8]) {
    switch byte {
    case UInt8(ascii: "\""): append("\\\"", to: &bytes)
    case UInt8(ascii: "\\"): append("\\\\", to: &bytes)
    case 0x08: append("\\b", to: &bytes)
    case 0x0C: append("\\f", to: &bytes)
    case 0x0A: append("\\n", to: &bytes)
    case 0x0D: append("\\r", to: &bytes)
    case 0x09: append("\\t", to: &bytes)
    default:
      append("\\u00", to: &bytes)
      bytes.append(hexDigit(byte >> 4))
      bytes.append(hexDigit(byte & 15))
    }
  }

  private static func hexDigit(_ value: UInt8) -> UInt8 {
    value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "A") + value - 10
  }
}
