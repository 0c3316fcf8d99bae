// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// `KEY=VALUE` arguments.
enum KeyValue {
  /// Takes `text` apart: the value is JSON where it can be, else a string; a key alone has the value 1; `^KEY=FILE`
  /// takes the value from a file of JSON.
  static func parse(_ text: String, label: String) throws -> (key: String, value: JSON) {
    guard let equals = text.firstIndex(of: "=") else {
      guard !text.hasPrefix("^") else { throw CommandFailure("\(label): \(text): write ^KEY=FILE") }
      return (text, 1)
    }
    let key = String(text[..<equals])
    let value = String(text[text.index(after: equals)...])
    guard key.hasPrefix("^") else { return (key, (try? JSON(parsing: value)) ?? .string(value)) }
    let bytes = try FileContents.read(value, label: label)
    do { return (String(key.drop { $0 == "^" }), try JSON(parsing: bytes)) } catch {
      throw CommandFailure("\(label): \(value): \(error)")
    }
  }
}
