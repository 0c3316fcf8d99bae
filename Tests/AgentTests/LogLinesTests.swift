// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Agent

/// What home is given of a log whose entries may be of any length.
@Suite struct LogLinesTests {
  private static let limit = 4096

  private static func lines(_ entry: EventlogEntry) -> [String] { LogLines.lines(of: entry, limit: limit) }

  private static func data(_ text: String, encoding: String? = nil) -> EventlogEntry {
    var context: JSONObject = ["stream": "stdout", "rank": "0", "data": .string(text), "eof": true]
    if let encoding { context["encoding"] = .string(encoding) }
    return EventlogEntry(timestamp: 1, name: "data", context: context)
  }

  @Test func anOrdinaryEntryIsALine() {
    let entry = Self.data("hello\n")
    #expect(Self.lines(entry) == [entry.line])
  }

  /// Nothing of what a job prints is lost, whatever it is.
  @Test(arguments: ["x", "ä", "\u{1}", "a\u{301}\n"]) func longOutputIsWhole(_ piece: String) throws {
    let text = String(repeating: piece, count: 3 * Self.limit)
    let entries = try Self.entries(Self.lines(Self.data(text)))
    #expect(entries.count > 1)
    #expect(entries.map { $0.context?["data"]?.stringValue ?? "" }.joined() == text)
    #expect(entries.allSatisfy { $0.context?["stream"]?.stringValue == "stdout" && $0.timestamp == 1 })
    #expect(entries.map { $0.context?["eof"] != nil } == Array(repeating: false, count: entries.count - 1) + [true])
  }

  @Test func longOutputInBase64IsWhole() throws {
    let bytes = (0..<10_001).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let entries = try Self.entries(Self.lines(Self.data(Base64.encode(bytes), encoding: "base64")))
    #expect(entries.count > 1)
    #expect(try entries.flatMap { try Base64.decode($0.context?["data"]?.stringValue ?? "") } == bytes)
  }

  /// What is no output has a word in its place; so has output that cannot be cut.
  @Test func otherLongEntriesAreNamed() throws {
    let long = JSON.string(String(repeating: "x", count: 5000))
    for entry in [
      EventlogEntry(timestamp: 1, name: "header", context: ["x": long]),
      EventlogEntry(timestamp: 1, name: "data", context: ["data": "x", "rank": long]),
    ] {
      let entries = try Self.entries(Self.lines(entry))
      #expect(entries.map(\.name) == ["log"])
      #expect(entries.first?.context?["message"]?.stringValue?.contains("'\(entry.name)' of 50") == true)
    }
  }

  private static func entries(_ lines: [String]) throws -> [EventlogEntry] {
    #expect(lines.allSatisfy { $0.utf8.count <= limit })
    return try lines.map { try EventlogEntry(parsing: $0) }
  }
}
