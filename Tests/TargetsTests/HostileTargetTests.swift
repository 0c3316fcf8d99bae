// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Targets

/// A target that lies: what it says has a bound, and jobs at other targets do not notice.
@Suite struct HostileTargetTests {
  static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  static let mark = Mark(origin: "here", id: JobID(rawValue: 7), submitted: 1.5, attempt: 1)
  static let id = JobID(rawValue: 99)

  /// Runs `body` with a journal whose stream `script` answers, and that has told of nothing yet.
  ///
  /// - Parameter script: answers all that is asked.
  static func withJournal(
    _ script: @escaping FakeInstance.Script,
    _ body: @escaping @Sendable (TargetJournal, FluxConnection) async throws -> Void
  ) async throws {
    try await FakeInstance.with(script: script) { uri in
      try await FluxConnection.withConnection(to: uri, logger: logger) { connection in
        let journal = TargetJournal(connection, origin: mark.origin)
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = await journal.run() }
          defer { group.cancelAll() }
          try await body(journal, connection)
        }
      }
    }
  }

  /// What the journal says of a job.
  static func told(_ events: [JSON], _ more: JSONObject = JSONObject()) -> JSON {
    var object = more
    object["id"] = id.json
    object["events"] = .array(events)
    return .object(object)
  }

  static func event(_ name: String, _ context: JSON = [:]) -> JSON {
    ["timestamp": 1.5, "name": .string(name), "context": context]
  }

  /// The end of what the journal has to say of the past.
  static let sentinel: JSON = ["id": -1, "events": []]

  static let jobspec: JSON = ["attributes": ["user": ["delegate": mark.json]]]

  /// All that is told of the job, up to and with what ends it for the listener.
  static func follow(
    _ journal: TargetJournal, until isLast: @escaping @Sendable (DelegatedJob.Event) -> Bool
  ) async -> [DelegatedJob.Event] {
    let (events, sink) = AsyncStream<DelegatedJob.Event>.makeStream()
    await journal.follow(id) { sink.yield($0) }
    var found: [DelegatedJob.Event] = []
    for await event in events {
      found.append(event)
      if isLast(event) { break }
    }
    return found
  }

  /// The words of an exception are cut where they come in.
  @Test func wordsAreCut() async throws {
    let long = JSON.string(String(repeating: "ä", count: 100_000))
    try await Self.withJournal { request, peer in
      guard request.topic == "job-manager.events-journal" else {
        return try await peer.refuse(request, .notImplemented)
      }
      let events = [
        Self.event("submit", ["urgency": 0]),
        Self.event("exception", ["type": long, "severity": 0, "note": long]), Self.event("clean"),
      ]
      try await peer.answer(request, Self.told(events, ["jobspec": Self.jobspec]))
      try await peer.answer(request, Self.sentinel)
    } _: { journal, _ in
      try await journal.waitUntilReady()
      let events = await Self.follow(journal) { if case .remote = $0 { true } else { false } }
      guard case .remote(let remote)? = events.last, case .exception(let type, let note)? = remote.dropFirst().first
      else {
        Issue.record("\(events)")
        return
      }
      #expect(type.utf8.count <= 4096 && type.hasSuffix("ä…"))
      #expect(note.utf8.count <= 4096 && note.hasSuffix("ä…"))
    }
  }

  /// Logs that are too long for one piece are not read at all, and the connection goes on.
  @Test func longLogsAreNotFetched() async throws {
    try await Self.withJournal { request, peer in
      switch request.topic {
      case "attr.get": try await peer.answer(request, ["value": "1"])
      case "job-info.lookup":
        let isLong = try request.json()?["id"]?.intValue == 1
        try await peer.answer(request, ["guest.output": .string(String(repeating: "x", count: isLong ? 2 << 20 : 2))])
      default: try await peer.refuse(request, .notImplemented)
      }
    } _: { journal, connection in
      let target = try await FluxTarget.probe(connection, journal: journal, within: .seconds(60))
      #expect(try await target.logs(["guest.output"], of: JobID(rawValue: 1)) == nil)
      #expect(try await target.logs(["guest.output"], of: JobID(rawValue: 2)) == ["guest.output": "xx"])
    }
  }
}
