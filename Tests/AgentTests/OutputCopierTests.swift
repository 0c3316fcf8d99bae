// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Logging
import Synchronization
import Targets
import TestSupport
import Testing

@testable import Agent

/// How the output of a remote job gets home, from a target that says what the test has it say.
@Suite struct OutputCopierTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private static let mark = Mark(origin: "here", id: JobID(rawValue: 7), submitted: 1.5, attempt: 1)
  private static let remote = JobID(rawValue: 99)

  /// A job that printed much within moments.
  private struct Burst: Sendable {
    let line = String(repeating: "x", count: 64 << 10)
    let count: Int

    var execution: [EventlogEntry] {
      let shell: JSONObject = ["service": "1-shell-f", "leader-rank": 0]
      return [
        EventlogEntry(timestamp: 1, name: "init"), EventlogEntry(timestamp: 1, name: "starting"),
        EventlogEntry(timestamp: 1, name: "shell.init", context: shell),
        EventlogEntry(timestamp: 1, name: "complete", context: ["status": 0]),
      ]
    }

    var output: [EventlogEntry] {
      (0..<count).map {
        EventlogEntry(
          timestamp: 1, name: "data", context: ["stream": "stdout", "rank": "0", "data": .string("\($0)\(line)")])
      }
    }

    func script(_ request: Message, _ peer: FakeInstance.Peer) async throws {
      switch request.topic {
      case "attr.get": try await peer.answer(request, ["value": "1"])
      case "job-manager.events-journal":
        let events: [JSON] = ["submit", "start", "finish", "clean"].map { ["timestamp": 1, "name": .string($0)] }
        let jobspec: JSON = ["attributes": ["user": ["delegate": mark.json]]]
        try await peer.answer(request, ["id": remote.json, "jobspec": jobspec, "events": .array(events)])
        try await peer.answer(request, ["id": -1, "events": []])
      case "job-info.lookup":
        let logs = [execution, output].map { JSON.string(Eventlog(entries: $0).text) }
        try await peer.answer(request, ["guest.exec.eventlog": logs[0], "guest.output": logs[1]])
      case "job-info.eventlog-watch":
        let entries = try request.json()?["path"]?.stringValue == "guest.output" ? output : execution
        for entry in entries { try await peer.answer(request, ["event": .string(entry.line)]) }
        try await peer.refuse(request, .noData)
      default: try await peer.refuse(request, .notImplemented)
      }
    }
  }

  /// Copies the output of a burst.
  ///
  /// - Returns: what was appended to the logs at home, by commit.
  private static func copy(_ burst: Burst) async throws -> [[String: String]] {
    let commits = Mutex<[[String: String]]>([])
    try await FakeInstance.with(script: burst.script) { uri in
      try await FakeInstance.with { request, peer in
        if request.topic == "kvs.commit" { try commits.withLock { $0.append(try Self.texts(try request.json())) } }
        try await peer.answer(request, [:])
      } body: { origin in
        try await FluxConnection.withConnection(to: origin, configuration: .patient, logger: logger) { origin in
          let log = OriginLog(origin, fallback: logger)
          let (_, sink) = AsyncStream<Agent.Input>.makeStream()
          let pool = TargetPool(
            configuration: .patient, origin: "here", probeTimeout: .seconds(600), log: log,
            governor: TargetGovernor(sink: sink), sink: sink)
          let id = mark.id
          let guest = GuestJob(
            origin: origin, writer: KVSWriter(origin), log: log, emptyDirectory: "", roots: GuestRoots(), id: id)
          let copier = OutputCopier(
            origin: origin, pool: pool, log: log, uri: uri, id: id, userID: 1, guest: guest, files: nil)
          try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pool.run() }
            defer { group.cancelAll() }
            await (try await pool.target(uri)).journal.follow(remote) { _ in }
            #expect(await copier.copy(remote, .new) == .copied)
          }
        }
      }
    }
    return commits.withLock { $0 }
  }

  private static func texts(_ commit: JSON?) throws -> [String: String] {
    var texts: [String: String] = [:]
    for operation in commit?["ops"]?.arrayValue ?? [] {
      let bytes = try Base64.decode(operation["dirent"]?["data"]?.stringValue ?? "")
      texts[operation["key"]?.stringValue ?? "", default: ""] += String(decoding: bytes, as: UTF8.self)
    }
    return texts
  }

  private static func whole(_ key: String, _ commits: [[String: String]]) -> String {
    commits.map { $0[key] ?? "" }.joined()
  }

  @Test func aLittleOutputComesInOnePiece() async throws {
    let burst = Burst(count: 2)
    let commits = try await Self.copy(burst)
    #expect(commits.count == 1)
    #expect(Self.whole("output", commits) == Eventlog(entries: burst.output).text)
  }

  /// Whatever was printed is whole at home, and no commit is much larger than 1 MiB.
  @Test func muchOutputInAMomentIsWhole() async throws {
    let burst = Burst(count: 20)
    let commits = try await Self.copy(burst)
    #expect(Self.whole("output", commits) == Eventlog(entries: burst.output).text)
    #expect(commits.allSatisfy { $0.values.allSatisfy { $0.utf8.count <= 1 << 20 } })
    let names = try Eventlog(parsing: Self.whole("exec.eventlog", commits)).entries.map(\.name)
    #expect(names == ["shell.init", "complete"])
  }
}
