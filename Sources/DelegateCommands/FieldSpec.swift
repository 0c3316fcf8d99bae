// SPDX-License-Identifier: LGPL-3.0-only

/// The part of a replacement field after the colon: Python's format specification with Flux's additions, a trailing
/// `h` (a hyphen for what is empty) and a trailing `+` (which marks what was cut off).
struct FieldSpec: Hashable, Sendable {
  var fill: Character = " "
  var align: Character?
  var sign: Character?
  var width: Int?
  var precision: Int?
  var type: Character?
  var hyphen = false
  var marksTruncation = false
  /// For times: the format of strftime's before the double colon.
  var timeFormat = ""

  /// Reads a specification.
  init(parsing text: String, isTime: Bool) throws {
    var rest = text[...]
    if isTime {
      let end = Self.doubleColon(rest)
      timeFormat = String(rest[..<(end ?? rest.endIndex)])
      rest = end.map { rest[$0...].dropFirst(2) } ?? ""
    }
    let second = rest.dropFirst().first
    if let second, "<>=^".contains(second), let first = rest.first {
      (fill, align) = (first, second)
      rest = rest.dropFirst(2)
    } else if let first = rest.first, "<>=^".contains(first) {
      align = first
      rest = rest.dropFirst()
    }
    if let first = rest.first, "+- ".contains(first) {
      // A lone plus is Flux's mark of truncation.
      if rest.count > 1 || first != "+" {
        sign = first
        rest = rest.dropFirst()
      }
    }
    if rest.first == "#" { rest = rest.dropFirst() }
    if rest.first == "0", align == nil {
      (fill, align) = ("0", "=")
      rest = rest.dropFirst()
    }
    width = Self.number(&rest)
    if rest.first == "." {
      rest = rest.dropFirst()
      precision = Self.number(&rest)
    }
    if let first = rest.first, "bcdeEfFgGnosxX%".contains(first) {
      type = first
      rest = rest.dropFirst()
    }
    if rest.first == "h" {
      hyphen = true
      rest = rest.dropFirst()
    }
    if rest.first == "+" {
      marksTruncation = true
      rest = rest.dropFirst()
    }
    guard rest.isEmpty, (width ?? 0) <= 10_000, (precision ?? 0) <= 10_000 else {
      throw CommandFailure("Error in user format: Invalid format specifier '\(text)'")
    }
  }

  private static func doubleColon(_ text: Substring) -> Substring.Index? {
    text.indices.first { text[$0...].hasPrefix("::") }
  }

  private static func number(_ text: inout Substring) -> Int? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    text = text.dropFirst(digits.count)
    return digits.isEmpty ? nil : Int(digits) ?? Int.max
  }

  /// Formats a value.
  func format(_ value: FieldValue) -> String {
    var isText = true
    var text = value.text
    if case .time(let seconds) = value {
      text = seconds == 0 ? "" : CFormat.time(seconds, timeFormat.isEmpty ? "%FT%T" : timeFormat)
      if hyphen, text.isEmpty { text = "-" }
    } else if hyphen {
      if FieldValue.isEmpty(text) { text = "-" }
    } else if let number = value.number {
      isText = type == "s"
      text = self.text(of: number, value)
    }
    let full = text
    if isText, let precision, text.unicodeScalars.count > precision { text = Self.prefix(text, precision) }
    let result = padded(text, isText: isText)
    guard marksTruncation, result.unicodeScalars.count < full.unicodeScalars.count else { return result }
    return Self.prefix(result, result.unicodeScalars.count - 1) + "+"
  }

  private func text(of number: Double, _ value: FieldValue) -> String {
    let digits = precision ?? 6
    var text: String
    switch type {
    case "e"?, "E"?, "f"?, "F"?, "g"?, "G"?: text = CFormat.string("%.\(digits)\(type ?? "f")", number)
    case "%"?: text = CFormat.string("%.\(digits)f%%", number * 100)
    case "x"?: text = Int64(exactly: number).map { String($0, radix: 16) } ?? value.text
    default:
      if case .bool(let flag) = value { text = width == nil ? value.text : flag ? "1" : "0" } else { text = value.text }
      if case .double = value, let precision { text = CFormat.string("%.\(precision)g", number) }
    }
    if sign == "+" || sign == " ", number >= 0 { text = String(sign ?? " ") + text }
    return text
  }

  private func padded(_ text: String, isText: Bool) -> String {
    let missing = (width ?? 0) - text.unicodeScalars.count
    guard missing > 0 else { return text }
    switch align ?? (isText ? "<" : ">") {
    case "<": return text + String(repeating: fill, count: missing)
    case "^":
      let left = missing / 2
      return String(repeating: fill, count: left) + text + String(repeating: fill, count: missing - left)
    case "=" where !isText && (text.first == "-" || text.first == "+"):
      return String(text.prefix(1)) + String(repeating: fill, count: missing) + text.dropFirst()
    case "=" where isText: return text + String(repeating: fill, count: missing)
    default: return String(repeating: fill, count: missing) + text
    }
  }

  static func prefix(_ text: String, _ count: Int) -> String {
    var result = ""
    result.unicodeScalars.append(contentsOf: text.unicodeScalars.prefix(max(0, count)))
    return result
  }
}
