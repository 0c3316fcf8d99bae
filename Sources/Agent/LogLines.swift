// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The lines that a remote log's entry becomes at home: each is small enough for one commit. What shells write is far below that.
///
/// The same entry becomes the same lines every time: a new agent counts those that are there, and leaves as many out.
enum LogLines {
  /// The most bytes of a line. A commit of it has a third more, and home takes no message of any length.
  static let maximumLength = 1 << 20
  /// How much less of a task's output is in each line when it was too long for one: escaped, it may have six times as many bytes.
  private static let pieces = 8

  /// Output that is too long comes in several lines. Any other entry that is has a word in its place.
  static func lines(of entry: EventlogEntry, limit: Int = maximumLength) -> [String] {
    let line = entry.line
    guard line.utf8.count > limit else { return [line] }
    let pieces = pieces(of: entry, limit / Self.pieces).map(\.line)
    guard !pieces.isEmpty, pieces.allSatisfy({ $0.utf8.count <= limit }) else {
      return [note(of: entry, line.utf8.count).line]
    }
    return pieces
  }

  /// A task's output in pieces, each of whole characters, or of whole groups of Base64, for the length is a multiple of four. Whether it is the
  /// last comes with the last.
  private static func pieces(of entry: EventlogEntry, _ length: Int) -> [EventlogEntry] {
    guard entry.name == "data", let context = entry.context, let data = context["data"]?.stringValue else { return [] }
    var pieces: [EventlogEntry] = []
    var rest = data[...]
    while !rest.isEmpty {
      var end = rest.utf8.index(rest.startIndex, offsetBy: length, limitedBy: rest.endIndex) ?? rest.endIndex
      while end < rest.endIndex, rest.utf8[end] & 0xC0 == 0x80 { end = rest.utf8.index(before: end) }
      var piece = context
      piece["data"] = .string(String(rest[..<end]))
      if end < rest.endIndex { piece["eof"] = nil }
      pieces.append(EventlogEntry(timestamp: entry.timestamp, name: entry.name, context: piece))
      rest = rest[end...]
    }
    return pieces
  }

  private static func note(of entry: EventlogEntry, _ length: Int) -> EventlogEntry {
    let words = "an entry '\(entry.name.cut(to: 64))' of \(length) bytes at the target was left out: it is too long"
    return EventlogEntry(
      timestamp: entry.timestamp, name: "log",
      context: ["rank": 0, "level": 4, "message": .string(words), "component": "delegate"])
  }
}
