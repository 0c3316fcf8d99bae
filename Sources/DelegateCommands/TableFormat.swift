// SPDX-License-Identifier: LGPL-3.0-only

/// The format language of `flux jobs -o` and `flux resource list -o`: text with replacement fields
/// `{name!conversion:spec}`.
///
/// Before a field, `?:` leaves it out when it is empty in every row, `+:` makes it as wide as its widest value, `?+:`
/// does both.
struct TableFormat: Sendable {
  /// A row: what the fields' names stand for.
  protocol Row {
    /// The value of a field that the table's headings have.
    func value(of field: String) -> FieldValue
  }

  private struct Field {
    var text = ""
    var name = ""
    var conversion: Character?
    var spec: FieldSpec
    var hides = false
    var expands = false
  }

  private var fields: [Field] = []
  private let heading: @Sendable (String) -> String?

  /// The names of the fields in it.
  var names: [String] { fields.map(\.name).filter { !$0.isEmpty } }

  /// Reads a format.
  ///
  /// - Parameter heading: a field's heading; nil when there is no such field.
  init(parsing format: String, heading: @escaping @Sendable (String) -> String?) throws {
    self.heading = heading
    var text = ""
    var rest = format[...]
    while let character = rest.first {
      rest = rest.dropFirst()
      if character == "{" || character == "}", rest.first == character {
        text.append(character)
        rest = rest.dropFirst()
      } else if character == "{" {
        guard let end = rest.firstIndex(of: "}") else {
          throw CommandFailure("Error in user format: expected '}' before end of string")
        }
        fields.append(try Self.field(String(rest[..<end]), after: text))
        text = ""
        rest = rest[rest.index(after: end)...]
      } else if character == "}" {
        throw CommandFailure("Error in user format: Single '}' encountered in format string")
      } else {
        text.append(character)
      }
    }
    if !text.isEmpty { fields.append(Field(text: text, spec: try FieldSpec(parsing: "", isTime: false))) }
    for name in names where heading(name) == nil {
      throw CommandFailure("Error in user format: Unknown format field: \(name)")
    }
  }

  private static func field(_ body: String, after text: String) throws -> Field {
    var name = body[...]
    var spec: Substring = ""
    var conversion: Character?
    if let end = body.firstIndex(where: { $0 == "!" || $0 == ":" }) {
      name = body[..<end]
      var rest = body[end...]
      if rest.first == "!" {
        conversion = rest.dropFirst().first
        rest = rest.dropFirst(2)
      }
      if rest.first == ":" { spec = rest.dropFirst() }
    }
    var field = Field(
      text: text, name: String(name), conversion: conversion,
      spec: try FieldSpec(parsing: String(spec), isTime: conversion == "d"))
    for (sentinel, hides, expands) in [("?+:", true, true), ("?:", true, false), ("+:", false, true)]
    where text.hasSuffix(sentinel) {
      field.text = String(text.dropLast(sentinel.count))
      (field.hides, field.expands) = (hides, expands)
      break
    }
    return field
  }

  /// The format for just these rows: without the fields that hide, with the widths of those that expand.
  private func fitted(to rows: [any Row], hasHeader: Bool) throws -> TableFormat {
    var result = self
    result.fields = try fields.compactMap { field in
      guard field.hides || field.expands else { return field }
      var widest = 0
      for row in rows {
        let text = try row.value(of: field.name).converted(field.conversion).text
        if !FieldValue.isEmpty(text) { widest = max(widest, text.unicodeScalars.count) }
      }
      if field.hides, widest == 0 { return nil }
      guard field.expands else { return field }
      var field = field
      let title = hasHeader ? heading(field.name)?.unicodeScalars.count ?? 0 : 0
      let width = max(field.spec.width ?? 0, title, widest)
      field.spec.width = width
      if let precision = field.spec.precision, precision < width { field.spec.precision = width }
      return field
    }
    return result
  }

  /// The lines of a table.
  ///
  /// - Parameter hasHeader: whether the first line is the heading.
  /// - Returns: the heading, nil without, and for each row its line, nil when that is blank.
  func lines(of rows: [any Row], hasHeader: Bool) throws -> (header: String?, rows: [String?]) {
    let fitted = try fitted(to: rows, hasHeader: hasHeader)
    let header = hasHeader ? fitted.headerLine : nil
    return (
      header,
      try rows.map { row in
        let line = try fitted.line(row)
        return line.allSatisfy(\.isWhitespace) ? nil : line
      }
    )
  }

  private var headerLine: String {
    fields.map { field in
      guard !field.name.isEmpty else { return field.text }
      var spec = field.spec
      (spec.precision, spec.type, spec.hyphen, spec.marksTruncation, spec.fill) = (nil, nil, false, false, " ")
      return field.text + spec.format(.text(heading(field.name) ?? ""))
    }.joined()
  }

  private func line(_ row: any Row) throws -> String {
    try fields.map { field in
      guard !field.name.isEmpty else { return field.text }
      return field.text + field.spec.format(try row.value(of: field.name).converted(field.conversion))
    }.joined()
  }
}
