// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import EmbeddedFlux
import FluxConnection
import FluxJob
import Glibc
import Logging
import Targets
import Testing

/// A copy that has ended before it was released has never run, and never will: whoever looks for a copy does not find it.
struct DeadCopyTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private static let mark = Mark(origin: "here", id: JobID(rawValue: 4711), submitted: 1e9, attempt: 1)

  /// Runs `body` with a target whose journal is read.
  private func withTarget(
    _ body: @escaping @Sendable (FluxConnection, FluxTarget) async throws -> Void
  ) async throws {
    let configuration = EmbeddedInstance.Configuration(name: "n", nodes: 1, coresPerNode: 2)
    try await EmbeddedInstance.withInstance(configuration, logger: Self.logger) { instance in
      try await FluxConnection.withConnection(to: instance.uri, configuration: .patient, logger: Self.logger) {
        connection in
        let journal = TargetJournal(connection, origin: "here")
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = await journal.run() }
          try await journal.waitUntilReady()
          try await body(connection, try await FluxTarget.probe(connection, journal: journal, within: .seconds(10)))
          group.cancelAll()
        }
      }
    }
  }

  private static func submit(_ target: FluxTarget) async throws -> JobID {
    var jobspec = try Jobspec(Jobspec.Request(command: ["true"]))
    jobspec.set(attribute: "user.delegate", to: mark.json)
    guard case .accepted(let id) = await target.submit(jobspec) else { throw CancellationError() }
    return id
  }

  private static func cancel(_ id: JobID, _ target: FluxTarget, _ connection: FluxConnection) async throws {
    try await target.cancel(id, note: "nobody wants it")
    let log = await connection.stream("job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
    for try await _ in log {}
  }

  /// By the journal, and by a search; also by one that has seen it alive.
  @Test func itIsNotFound() async throws {
    try await withTarget { connection, target in
      let first = try await Self.submit(target)
      #expect(try await target.find(Self.mark) == first)
      #expect(try await target.copy(of: Self.mark)?.id == first)
      try await Self.cancel(first, target, connection)
      #expect(try await target.find(Self.mark) == nil)
      #expect(try await target.copy(of: Self.mark) == nil)
      let second = try await Self.submit(target)
      #expect(try await target.find(Self.mark) == second)
      #expect(try await target.copy(of: Self.mark)?.id == second)
    }
  }

  /// One that was released is found, however it has ended.
  @Test func onesThatMayHaveRunAreFound() async throws {
    try await withTarget { connection, target in
      let id = try await Self.submit(target)
      #expect(try await target.control(id, .urgency(16)) == nil)
      let log = await connection.stream("job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
      for try await _ in log {}
      #expect(try await target.find(Self.mark) == id)
      #expect(try await target.copy(of: Self.mark)?.id == id)
    }
  }

  /// A job that has ended is refused, and so is one that is not known: these two are not the same.
  @Test func whatHasEndedIsNotForgotten() async throws {
    try await withTarget { connection, target in
      let id = try await Self.submit(target)
      try await Self.cancel(id, target, connection)
      let ended = try #require(try await target.control(id, .urgency(16)))
      #expect(!ended.isForgotten && ended.words.hasSuffix("job is inactive"), "\(ended)")
      let unknown = try #require(try await target.control(JobID(rawValue: 12345), .urgency(16)))
      #expect(unknown.isForgotten && unknown.words.hasSuffix("unknown job"), "\(unknown)")
      try await connection.rpc("job-manager.purge", ["age_limit": 0, "num_limit": 0, "batch": 10, "force": true])
      let purged = try #require(try await target.control(id, .urgency(16)))
      #expect(purged.isForgotten, "\(purged)")
    }
  }
}
