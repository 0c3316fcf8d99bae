// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

@testable import EmbeddedFlux

/// Queues and the order of jobs. As a Flux 0.88 was seen to do.
@Suite struct QueueTests {
  private static let tables: JSON = [
    "queues": [
      "a": [:], "b": ["requires": ["p"]], "c": ["policy": ["jobspec": ["defaults": ["system": ["bank": "x"]]]]],
    ],
    "policy": ["jobspec": ["defaults": ["system": ["queue": "a", "duration": "10m"]]]],
  ]

  private static func words(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch { return (error as? ServiceError).map { "\($0.errnum.rawValue) \($0.text ?? "")" } ?? "\(error)" }
  }

  @Test(
    arguments: [
      (["queues": 5], "22 error parsing [queues] config table: not a table"),
      (["queues": ["x": ["foo": 1]]], "22 error parsing [queues.x] config table: 1 object item(s) left unpacked: foo"),
      (
        ["queues": ["x": ["requires": 5]]],
        "22 error parsing [queues.x] config table: 'requires' must be an array of property strings (RFC 20)"
      ),
      (
        ["policy": ["jobspec": ["defaults": ["system": ["queue": "no"]]]]],
        "22 the [policy] config table defines a default queue no that is not in [queues] table"
      ),
      (["policy": ["foo": 1]], "22 error parsing [policy] config table: 1 object item(s) left unpacked: foo"),
    ] as [(JSON, String)]) func badConfigurations(_ configuration: JSON, _ expected: String) throws
  {
    var queues = Queues()
    try queues.configure(Self.tables)
    #expect(Self.words { try queues.configure(configuration) } == expected)
    #expect(queues.names == ["a", "b", "c"])
  }

  @Test func jobsAreCompleted() throws {
    var queues = Queues()
    let plain = try InstanceTests.jobspec(["true"])
    #expect(try queues.completed(plain) == plain)
    var job = plain
    job.set(attribute: "queue", to: "no")
    #expect(try queues.completed(job) == job)
    #expect(Self.words { try queues.checkSubmission(to: "no") } == "22 'no' is not a valid queue")

    try queues.configure(Self.tables)
    #expect(Self.words { _ = try queues.completed(job) } == "1 Invalid queue 'no' specified")
    let completed = try queues.completed(plain)
    #expect(completed.queue == "a" && completed.duration == 600 && completed.constraints == nil)
    job.set(attribute: "queue", to: "b")
    #expect(try queues.completed(job).json.value(at: "attributes.system.constraints") == ["properties": ["p"]])
    job.set(attribute: "constraints", to: ["properties": ["q"]])
    #expect(try queues.completed(job).json.value(at: "attributes.system.constraints") == ["properties": ["q", "p"]])
    job.set(attribute: "constraints", to: ["ranks": ["0"]])
    #expect(
      try queues.completed(job).json.value(at: "attributes.system.constraints")
        == ["and": [["ranks": ["0"]], ["properties": ["p"]]]])
    job.set(attribute: "queue", to: "c")
    #expect(try queues.completed(job).json.value(at: "attributes.system.bank") == "x")

    try queues.configure(["queues": ["a": [:]]])
    #expect(Self.words { _ = try queues.completed(plain) } == "1 no queue specified")
  }

  @Test func administration() throws {
    var queues = Queues()
    #expect(try queues.status(nil) == ["enable": true, "start": true])
    try queues.configure(Self.tables)
    #expect(Self.words { _ = try queues.status(nil) } == "22 a named queue is required")
    #expect(try queues.status("a") == ["enable": true, "start": false])
    try queues.start(nil, true, reason: nil)
    try queues.start("b", false, reason: "later")
    try queues.enable("b", false, reason: "why")
    #expect(
      try queues.status("b") == ["enable": false, "start": false, "disable_reason": "why", "stop_reason": "later"])
    #expect(Self.words { try queues.checkSubmission(to: "b") } == "22 job submission to b is disabled: why")
    // What stays keeps its state; without names it is the one without again.
    try queues.configure(["queues": ["a": [:], "d": [:]]])
    #expect(queues.isStarted("a") && !queues.isStarted("d") && !queues.isStarted("b"))
    try queues.configure([:])
    #expect(queues.isStarted(nil) && !queues.isStarted("a"))
  }

  @Test func aJobRunsWhenItsQueueIsStarted() async throws {
    try await InstanceTests.withInstance { _, connection in
      try await connection.rpc("config.load", ["queues": ["a": [:], "b": ["requires": ["p"]]]])
      let list = try await connection.rpc("job-manager.queue-list")
      #expect(list == ["queues": ["a", "b"]])
      var jobspec = try InstanceTests.jobspec(["true"])
      let without = jobspec
      await #expect {
        _ = try await InstanceTests.submit(connection, without)
      } throws: {
        "\($0)" == "no queue specified"
      }
      jobspec.set(attribute: "queue", to: "b")
      // No node has the property; the scheduler does not see the job yet.
      let id = try await InstanceTests.submit(connection, jobspec)
      for (updates, words) in [
        (["attributes.system.queue": "b"], "job queue is already set to b"),
        (["attributes.system.queue": "no"], "'no' is not a valid queue"),
      ] as [(JSON, String)] {
        await #expect {
          try await connection.rpc("job-manager.update", ["id": id.json, "updates": updates])
        } throws: {
          "\($0)" == words
        }
      }
      try await connection.rpc(
        "job-manager.update", ["id": id.json, "updates": ["attributes.system.queue": "a"]])
      await #expect {
        try await connection.rpc("job-manager.queue-start", ["start": true, "all": false])
      } throws: {
        "\($0)" == "Use --all to apply this command to all queues"
      }
      try await connection.rpc("job-manager.queue-start", ["start": true, "all": true])
      let events = try await InstanceTests.events(connection, id)
      #expect(events.contains { $0.name == "alloc" } && !events.contains { $0.name == "exception" })
      #expect(
        events.first { $0.name == "jobspec-update" }?.context
          == ["attributes.system.queue": "a", "attributes.system.constraints": [:]])
      await #expect {
        try await connection.rpc("config.load", ["queues": 1])
      } throws: {
        "\($0)" == "error updating job-manager: error parsing [queues] config table: not a table"
      }
    }
  }

  /// Pending by priority, then running, then those that have ended, the newest first; and no more than was asked for.
  @Test func listings() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 1) { _, connection in
      var ended: [JobID] = []
      for _ in 0..<3 {
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        _ = try await InstanceTests.events(connection, id)
        ended.append(id)
      }
      let running = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sleep", "60"]))
      for try await response in await connection.stream(
        "job-info.eventlog-watch", ["id": running.json, "path": "eventlog", "flags": 0])
      where response.text?.contains("\\\"start\\\"") == true { break }
      let low = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
      let high = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 20)
      let all = [high, low, running] + ended.reversed()
      for count in [0, 2, 4, 6, 9] {
        let answer = try await connection.rpc("job-list.list", ["max_entries": .int(Int64(count)), "attrs": []])
        let ids = answer["jobs"]?.arrayValue?.compactMap { JobID($0["id"]) }
        #expect(ids == Array(count == 0 ? all[...] : all.prefix(count)))
      }
      let stats = try await connection.rpc("job-list.job-stats")
      #expect(stats["successful"] == 3 && stats["job_states"]?["total"] == 6 && stats["job_states"]?["inactive"] == 3)
      let last = try await connection.rpc("job-manager.history.get", ["slice": "[1:3]"])
      #expect(last["jobs"]?.arrayValue?.compactMap { JobID($0) } == [low, running])
    }
  }
}
