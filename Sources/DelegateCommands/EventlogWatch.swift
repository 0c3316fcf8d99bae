// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

/// The events of one of a job's eventlogs, as they come (`job-info.eventlog-watch`).
struct EventlogWatch: AsyncSequence, Sendable {
  /// An event and the line that it came as; nil at the end of what was there before the watch began, when that was
  /// asked for.
  typealias Element = (entry: EventlogEntry, line: String)?

  /// How to watch.
  struct Flags: OptionSet, Sendable {
    var rawValue: Int64
    /// Wait for an eventlog that is not there yet.
    static let waitCreate = Flags(rawValue: 1)
    /// Mark the end of what was there before.
    static let initialSentinel = Flags(rawValue: 2)
  }

  private let stream: RPCStream

  /// Begins to watch.
  static func open(
    _ path: String, of id: JobID, on connection: FluxConnection, flags: Flags = [],
    buffering: RPCStream.Buffering = .bounded(1 << 20)
  ) async -> EventlogWatch {
    EventlogWatch(
      stream: await connection.stream(
        "job-info.eventlog-watch", ["id": id.json, "path": .string(path), "flags": .int(flags.rawValue)],
        cancelTopic: "job-info.eventlog-watch-cancel", buffering: buffering))
  }

  struct AsyncIterator: AsyncIteratorProtocol {
    var base: RPCStream.AsyncIterator

    mutating func next() async throws -> Element? {
      guard let message = try await base.next() else { return nil }
      guard let line = try message.json()?["event"]?.stringValue else { return .some(nil) }
      return (try EventlogEntry(parsing: line), line)
    }
  }

  func makeAsyncIterator() -> AsyncIterator { AsyncIterator(base: stream.makeAsyncIterator()) }
}
