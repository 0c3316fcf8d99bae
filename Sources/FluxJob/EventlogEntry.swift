// SPDX-License-Identifier: LGPL-3.0-only

/// One event of an eventlog (Flux RFC 18).
public struct EventlogEntry: Hashable, Sendable {
  /// When, in seconds since 1970-01-01 UTC.
  public var timestamp: Double
  /// The name of the event, such as `submit`.
  public var name: String
  /// What the event carries, nil if nothing.
  public var context: JSONObject?

  /// An event at a time in seconds since 1970-01-01 UTC.
  public init(timestamp: Double, name: String, context: JSONObject? = nil) {
    self.timestamp = timestamp
    self.name = name
    self.context = context
  }

  /// The event of a JSON object; other keys are ignored.
  /// - Throws: ``FormatError`` with code `eventlog`: `timestamp` is no number, `name` no string, or `context` no object.
  public init(_ json: JSON) throws(FormatError) {
    guard case .object(let object) = json else { throw FormatError(.eventlog, "event is not an object") }
    guard let timestamp = object["timestamp"]?.doubleValue else {
      throw FormatError(.eventlog, "event without a number 'timestamp'")
    }
    guard let name = object["name"]?.stringValue else { throw FormatError(.eventlog, "event without a string 'name'") }
    if let context = object["context"] {
      guard let members = context.objectValue else { throw FormatError(.eventlog, "'context' is not an object") }
      self.context = members
    }
    self.timestamp = timestamp
    self.name = name
  }

  /// The event of one line; the newline at its end may be absent, one elsewhere is an error.
  /// - Throws: ``FormatError`` with code `eventlog`.
  public init(parsing line: String) throws(FormatError) {
    let text = line.utf8.last == 0x0A ? String(line.utf8.dropLast()) ?? line : line
    if let newline = text.utf8.firstIndex(of: 0x0A) {
      let offset = text.utf8.distance(from: text.utf8.startIndex, to: newline)
      throw FormatError(.eventlog, "newline within an event", offset: offset)
    }
    let json: JSON
    do throws(FormatError) {
      json = try JSON(parsing: text)
    } catch {
      throw FormatError(.eventlog, "event is not JSON: \(error.message)", offset: error.offset)
    }
    try self.init(json)
  }

  /// The event as a JSON object with the keys `timestamp`, `name` and, if there is one, `context`.
  public var json: JSON {
    var object: JSONObject = ["timestamp": .double(timestamp), "name": .string(name)]
    if let context { object["context"] = .object(context) }
    return .object(object)
  }

  /// The event as one line, with a newline at its end.
  public var line: String { json.text + "\n" }
}
