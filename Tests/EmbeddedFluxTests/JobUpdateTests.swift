// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Foundation
import Glibc
import TestSupport
import Testing

@testable import EmbeddedFlux

/// Changes of jobs after their submission, time limits, and how jobs end by them. As a Flux 0.88 was seen to do.
@Suite struct JobUpdateTests {
  private static let duration = "attributes.system.duration"

  private static func update(_ connection: FluxConnection, _ id: JobID, _ updates: JSONObject) async throws {
    try await connection.rpc("job-manager.update", ["id": id.json, "updates": .object(updates)])
  }

  private static func refusal(
    _ connection: FluxConnection, _ id: JobID, _ updates: JSONObject
  ) async -> String? {
    do {
      try await update(connection, id, updates)
      return nil
    } catch { return (error as? RPCError).map { "\($0.errnum) \($0)" } ?? "\(error)" }
  }

  private static func list(_ connection: FluxConnection, _ id: JobID, _ attribute: String) async throws -> JSON? {
    try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": [.string(attribute)]])["job"]?[attribute]
  }

  /// Brings the time limit of a running job to about now.
  private static func expire(_ connection: FluxConnection, _ id: JobID) async throws {
    let alloc = try #require(try await InstanceTests.events(connection, id, until: "alloc").last).timestamp
    for margin in [0.2, 1, 5, 25] {
      let words = await refusal(connection, id, [duration: .double(Date().timeIntervalSince1970 - alloc + margin)])
      if words == nil { return }
      // The machine was slow.
      #expect(words == "22 requested duration places job expiration in the past")
    }
  }

  /// Waits for an event of a job.
  private static func wait(_ connection: FluxConnection, _ id: JobID, for name: String) async throws {
    for try await response in await connection.stream(
      "job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
    where response.text?.contains("\\\"\(name)\\\"") == true { break }
  }

  @Test func aPendingJobIsUpdated() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"], duration: 60), urgency: 0)
      try await Self.update(connection, id, [Self.duration: 30.5])
      #expect(try await Self.list(connection, id, "duration") == 30.5)
      let lookup: JSON = ["id": id.json, "keys": ["jobspec"], "flags": 1]
      let old = try await connection.rpc("job-info.lookup", lookup)
      #expect(old["jobspec"]?.value(at: Self.duration)?.doubleValue == 60)
      let current: JSON = ["id": id.json, "keys": ["jobspec"], "flags": 3]
      let new = try await connection.rpc("job-info.lookup", current)
      #expect(new["jobspec"]?.value(at: Self.duration) == 30.5)
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      let names = try await InstanceTests.events(connection, id).map(\.name)
      #expect(
        names == [
          "submit", "validate", "depend", "priority", "jobspec-update", "priority", "exception", "clean",
        ])
      #expect(await Self.refusal(connection, id, [Self.duration: 1]) == "22 job is inactive")
    }
  }

  @Test(
    arguments: [
      ([duration: -1], "22 duration must not be negative"),
      ([duration: "x"], "22 plugin args unpack failed"),
      (["attributes.system.job.name": "x"], "22 update of attributes.system.job.name not supported"),
      (["attributes.system.queue": "x"], "22 'x' is not a valid queue"),
      (["foo": 1], "22 one or more jobspec updates are invalid"),
      ([duration: 5, "tasks": 1], "22 update of tasks not supported"),
    ] as [(JSONObject, String)]) func refusals(_ updates: JSONObject, _ words: String) async throws
  {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"], duration: 60), urgency: 0)
      #expect(await Self.refusal(connection, id, updates) == words)
      #expect(try await Self.list(connection, id, "duration")?.doubleValue == 60)
      #expect(await Self.refusal(connection, JobID(rawValue: 1), updates)?.contains("22") == (updates["foo"] != nil))
    }
  }

  /// Shortened, its processes get SIGALRM when the new time is over.
  @Test func theLimitOfARunningJobMoves() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sleep", "60"], duration: 60))
      try await Self.wait(connection, id, for: "start")
      let past = await Self.refusal(connection, id, [Self.duration: 0.000001])
      #expect(past == "22 requested duration places job expiration in the past")
      try await Self.update(connection, id, [Self.duration: 0])
      #expect(try await Self.list(connection, id, "expiration")?.doubleValue == 0)
      let queue = await Self.refusal(connection, id, ["attributes.system.queue": "x"])
      #expect(queue == "22 update of queue for running job not supported")
      try await Self.update(connection, id, [Self.duration: 20])
      let events = try await InstanceTests.events(connection, id)
      let expiration = try #require(
        events.last { $0.name == "resource-update" }?.context?["expiration"]?.doubleValue)
      let alloc = try #require(events.first { $0.name == "alloc" }).timestamp
      #expect(abs(expiration - alloc - 20) < 0.1)
      #expect(events.filter { $0.name == "jobspec-update" }.count == 2)
      let exception = try #require(events.first { $0.name == "exception" })
      #expect(exception.context?["type"] == "timeout")
      #expect(exception.context?["note"] == "resource allocation expired")
      #expect(exception.timestamp >= expiration - 0.1)
      #expect(events.first { $0.name == "finish" }?.context?["status"] == .int(Int64((128 + SIGALRM) << 8)))
    }
  }

  /// What a job makes of the signals: its status, never success after a fatal exception.
  @Test(arguments: [
    ("trap 'exit 3' ALRM", 3 << 8), ("trap '' ALRM", 1 << 8), ("trap 'exit 4' TERM", (128 + 14) << 8),
  ]) func endsByTimeLimit(_ trap: String, _ status: Int64) async throws {
    try await InstanceTests.withInstance { _, connection in
      let (id, events) = try await withLatch { latch in
        let script = "\(trap); echo ready; \(latch.wait)"
        let id = try await InstanceTests.submit(
          connection, InstanceTests.jobspec(["sh", "-c", script], duration: 600))
        try await InstanceTests.wait(connection, id, for: "data", path: "guest.output")
        try await Self.expire(connection, id)
        try await Self.wait(connection, id, for: "exception")
        // One that does not mind the signal ends by itself.
        if trap.contains("''") { try latch.open() }
        return (id, try await InstanceTests.events(connection, id))
      }
      #expect(events.first { $0.name == "finish" }?.context?["status"] == .int(status))
      #expect(try await Self.list(connection, id, "result") == .int(Int64(JobResult.timeout.rawValue)))
    }
  }

  @Test func anExceptionMayTellTheStatus() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sleep", "60"]))
      try await Self.wait(connection, id, for: "start")
      try await connection.rpc(
        "job-manager.raise", ["id": id.json, "type": "lost", "severity": 0, "wait_status": 9])
      let events = try await InstanceTests.events(connection, id)
      #expect(events.first { $0.name == "exception" }?.context?["wait_status"] == 9)
      #expect(events.first { $0.name == "finish" }?.context?["status"] == .int(137 << 8))
    }
  }

  @Test func theExecutionLogNamesTheFirstTaskAndTheShell() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(
        connection, InstanceTests.jobspec(["sh", "-c", "exit 2"], nodes: 2, tasks: 4))
      let log = try await InstanceTests.events(connection, id, path: "guest.exec.eventlog")
      #expect(
        log.map(\.name) == [
          "init", "starting", "shell.init", "shell.start", "shell.task-exit", "shell-exit", "complete", "done",
        ])
      #expect(log.first { $0.name == "shell-exit" }?.context == ["rank": 0, "wait_status": 512])
    }
  }

  @Test func memosAreMergedAndMayBeVolatile() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let memos: [(JSON, Bool)] = [
        (["a": 1, "b": ["c": 2]], false), (["v": 1], true), (["b": ["d": 3]], false), (["a": nil], false),
        (["b": ["c": nil]], true),
      ]
      for (memo, isVolatile) in memos {
        try await connection.rpc("job-manager.memo", ["id": id.json, "memo": memo, "volatile": .bool(isVolatile)])
      }
      #expect(try await Self.list(connection, id, "annotations") == ["user": ["b": ["d": 3], "v": 1]])
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      let kept = try await InstanceTests.events(connection, id).filter { $0.name == "memo" }
      #expect(kept.count == 3 && !kept.contains { $0.context?["v"] != nil })
    }
  }
}
