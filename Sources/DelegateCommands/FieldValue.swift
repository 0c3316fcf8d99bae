// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A value in a table, with the types that Python's format language tells apart.
enum FieldValue: Hashable, Sendable {
  case text(String)
  case int(Int64)
  case double(Double)
  case bool(Bool)
  /// Seconds since the epoch, printed with a format of strftime's.
  case time(Double)

  /// No value.
  static let none = FieldValue.text("")

  /// A JSON value; objects and arrays as JSON text.
  init(_ json: JSON?) {
    switch json {
    case .string(let text)?: self = .text(text)
    case .int(let number)?: self = .int(number)
    case .double(let number)?: self = .double(number)
    case .bool(let flag)?: self = .bool(flag)
    case nil, .null?: self = .none
    case let other?: self = .text(JSONStyle.python.text(other))
    }
  }

  /// As Python's `str` has it.
  var text: String {
    switch self {
    case .text(let text): text
    case .int(let number): String(number)
    case .double(let number): "\(number)"
    case .bool(let flag): flag ? "True" : "False"
    case .time(let seconds): seconds == 0 ? "" : CFormat.time(seconds, "%FT%T")
    }
  }

  /// The number, where it is one.
  var number: Double? {
    switch self {
    case .int(let number): Double(number)
    case .double(let number), .time(let number): number
    case .bool(let flag): flag ? 1 : 0
    case .text: nil
    }
  }

  /// Whether Flux counts the text as empty.
  static func isEmpty(_ text: String) -> Bool {
    ["", "0s", "0.0", "0:00:00", "1970-01-01T00:00:00"].contains(text)
  }

  /// Flux's conversions: `!F` duration, `!d` and `!D` dates, `!H` hours, `!P` per cent.
  func converted(_ conversion: Character?) throws -> FieldValue {
    guard let conversion else { return self }
    guard conversion != "s", conversion != "r" else { return .text(text) }
    guard let number else { return conversion == "d" ? .time(0) : .none }
    switch conversion {
    case "F": return .text(CFormat.duration(number))
    case "d": return .time(number)
    case "D": return .text(number == 0 ? "" : CFormat.time(number, "%FT%T"))
    case "P": return .text(Self.percentage(number * 100))
    case "H":
      let seconds = number > 0 && number < 1 ? 1 : Int64(number.rounded(.toNearestOrEven))
      return .text(CFormat.string("%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60, seconds % 60))
    default: throw CommandFailure("Error in user format: Unknown conversion specifier \(conversion)")
    }
  }

  private static func percentage(_ number: Double) -> String {
    number > 0 && number < 1 ? CFormat.string("%.2f%%", number) : CFormat.string("%.3g%%", number)
  }
}
