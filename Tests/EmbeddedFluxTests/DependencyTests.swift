// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

@testable import EmbeddedFlux

/// Flux's own dependencies (RFC 26).
@Suite struct DependencyTests {
  private static func jobspec(_ scheme: String, _ value: String, name: String? = nil) throws -> Jobspec {
    var request = Jobspec.Request(command: ["true"])
    request.name = name
    request.cwd = "/"
    var jobspec = try Jobspec(request)
    jobspec.set(attribute: "dependencies", to: [["scheme": .string(scheme), "value": .string(value)]])
    return jobspec
  }

  @Test(arguments: [
    ("afterstart", "after-start"), ("afterany", "after-finish"), ("afterok", "after-success"),
  ]) func aHeldJobHoldsThoseThatWaitForIt(_ scheme: String, _ name: String) async throws {
    try await InstanceTests.withInstance { _, connection in
      let first = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let second = try await InstanceTests.submit(connection, Self.jobspec(scheme, first.encoded(.dec)))
      try await connection.rpc("job-manager.urgency", ["id": first.json, "urgency": 16])
      let events = try await InstanceTests.events(connection, second)
      // The words of whoever has submitted it, whatever encoding.
      let description: JSONObject = ["description": .string("\(name)=\(first.encoded(.dec))")]
      #expect(events.first { $0.name == "dependency-add" }?.context == description)
      #expect(events.first { $0.name == "dependency-remove" }?.context == description)
      #expect(events.last?.name == "clean" && events.contains { $0.name == "start" })
    }
  }

  @Test(arguments: ["afterstart", "afterok", "afternotok", "afterexcept"])
  func whatNeverStartedSatisfiesNobody(_ scheme: String) async throws {
    try await InstanceTests.withInstance { _, connection in
      let first = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let second = try await InstanceTests.submit(connection, Self.jobspec(scheme, first.encoded(.f58)))
      try await connection.rpc("job-manager.raise", ["id": first.json, "type": "cancel", "severity": 0])
      let events = try await InstanceTests.events(connection, second)
      let note = events.first { $0.name == "exception" }?.context?["note"]?.stringValue
      #expect(note?.hasSuffix("=\(first.encoded(.f58)) job never started") == true, "\(note ?? "no exception")")
      await #expect {
        _ = try await InstanceTests.submit(connection, Self.jobspec(scheme, first.encoded(.f58)))
      } throws: {
        "\($0)" == "dependency: after: \(first.encoded(.f58)) never started"
      }
    }
  }

  @Test func aJobWaitsForATime() async throws {
    try await InstanceTests.withInstance { _, connection in
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      let begin = Double(time.tv_sec) + 1
      let id = try await InstanceTests.submit(connection, Self.jobspec("begin-time", "\(begin)"))
      let past = try await InstanceTests.submit(connection, Self.jobspec("begin-time", "1.5"))
      let events = try await InstanceTests.events(connection, id)
      #expect(try #require(events.first { $0.name == "depend" }).timestamp >= begin)
      #expect(events.contains { $0.context?["description"]?.stringValue == "begin-time=\(time.tv_sec + 1).000" })
      #expect(try await InstanceTests.events(connection, past).contains { $0.name == "finish" })
      for value in ["x", "-1", "inf", ""] {
        let jobspec = try Self.jobspec("begin-time", value)
        await #expect {
          try await InstanceTests.submit(connection, jobspec)
        } throws: {
          "\($0)".contains("Invalid begin-time=\(value)")
        }
      }
    }
  }

  @Test func aJobIsAloneWithItsName() async throws {
    try await InstanceTests.withInstance { _, connection in
      let nameless = try Self.jobspec("singleton", "")
      await #expect {
        try await InstanceTests.submit(connection, nameless)
      } throws: {
        "\($0)".contains("singleton jobs require a job name")
      }
      var held = try InstanceTests.jobspec(["true"])
      held.set(attribute: "job.name", to: "x")
      let first = try await InstanceTests.submit(connection, held, urgency: 0)
      let second = try await InstanceTests.submit(connection, Self.jobspec("singleton", "", name: "x"), urgency: 0)
      let third = try await InstanceTests.submit(connection, Self.jobspec("singleton", "", name: "x"))
      let other = try await InstanceTests.submit(connection, Self.jobspec("singleton", "", name: "y"))
      _ = try await InstanceTests.events(connection, other)
      let states = { (id: JobID) async throws -> Int64? in
        let answer = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["state"]])
        return answer["job"]?["state"]?.intValue
      }
      #expect(try await [states(first), states(second), states(third)] == [8, 2, 2])
      // One after the other: first the one that was submitted first.
      try await connection.rpc("job-manager.raise", ["id": first.json, "type": "cancel", "severity": 0])
      _ = try await InstanceTests.events(connection, first)
      #expect(try await [states(second), states(third)] == [8, 2])
      try await connection.rpc("job-manager.urgency", ["id": second.json, "urgency": 16])
      #expect(try await InstanceTests.events(connection, third).contains { $0.name == "finish" })
    }
  }

  @Test func namesAreCounted() {
    var jobs = SingletonJobs()
    let ids = (0..<4).map { JobID(rawValue: $0) }
    #expect(!jobs.isTaken("x"))
    jobs.add("x")
    for id in ids.dropFirst() {
      jobs.add("x")
      #expect(jobs.isTaken("x") && jobs.wait(id, "x") == nil)
    }
    // One of those that wait ends before its turn.
    #expect(jobs.remove(ids[1], "x") == nil)
    #expect(jobs.remove(ids[0], "x") == ids[2])
    #expect(jobs.remove(ids[2], "x") == ids[3])
    #expect(jobs.remove(ids[3], "x") == nil && !jobs.isTaken("x"))
  }
}
