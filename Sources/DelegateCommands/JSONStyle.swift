// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// JSON text as Flux's two JSON writers make it, where scripts compare output.
enum JSONStyle {
  /// Compact, doubles with 17 significant digits: Flux's commands in C.
  case jansson
  /// Spaces after comma and colon, ASCII only: Flux's commands in Python.
  case python

  /// The text of a value. What was parsed has a bounded depth, so this has.
  func text(_ value: JSON) -> String {
    var result = ""
    write(value, to: &result)
    return result
  }

  private func write(_ value: JSON, to result: inout String) {
    switch value {
    case .double(let number) where number.isFinite: result += text(of: number)
    case .string(let text): result += quoted(text)
    case .array(let elements):
      result += "["
      for (index, element) in elements.enumerated() {
        if index > 0 { result += self == .python ? ", " : "," }
        write(element, to: &result)
      }
      result += "]"
    case .object(let members):
      result += "{"
      for (index, member) in members.enumerated() {
        if index > 0 { result += self == .python ? ", " : "," }
        result += quoted(member.key) + (self == .python ? ": " : ":")
        write(member.value, to: &result)
      }
      result += "}"
    default: result += value.text
    }
  }

  private func text(of number: Double) -> String {
    guard self == .jansson else { return "\(number)" }
    let digits = CFormat.string("%.17g", number)
    return digits.contains(where: { ".eE".contains($0) }) ? digits : digits + ".0"
  }

  private func quoted(_ text: String) -> String {
    let quoted = JSON.string(text).text
    guard self == .python, !quoted.utf8.allSatisfy({ $0 < 0x7f }) else { return quoted }
    var result = ""
    for unit in quoted.utf16 {
      if unit < 0x7f {
        result.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
      } else {
        result += CFormat.string("\\u%04x", UInt32(unit))
      }
    }
    return result
  }
}
