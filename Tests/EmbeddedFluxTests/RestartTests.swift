// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

@testable import EmbeddedFlux

/// What else is there again after a restart: drained nodes, jobs that wait for a time or for their name, and the room of those that are held. And what is
/// not: jobs that were purged.
@Suite struct RestartTests {
  private static func jobspec(_ scheme: String, _ value: String, name: String? = nil) throws -> Jobspec {
    var jobspec = try InstanceTests.jobspec(["true"])
    if let name { jobspec.set(attribute: "job.name", to: .string(name)) }
    jobspec.set(attribute: "dependencies", to: [["scheme": .string(scheme), "value": .string(value)]])
    return jobspec
  }

  @Test func drainedNodesStay() async throws {
    try await StateTests.withDirectory { directory in
      let drained = try await StateTests.withInstance(directory) { _, connection in
        #expect(try await connection.rpc("attr.get", ["name": "statedir-cleanup"])["value"] == "0")
        try await connection.rpc("resource.drain", ["targets": "0", "reason": "bad"])
        return try await connection.rpc("resource.status")["drain"]
      }
      try await StateTests.withInstance(directory) { _, connection in
        #expect(try await connection.rpc("resource.status")["drain"] == drained)
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        _ = try await InstanceTests.events(connection, id)
        let ranks = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["ranks"]])
        #expect(ranks["job"]?["ranks"] == "1")
        try await connection.rpc("resource.undrain", ["targets": "0"])
      }
      try await StateTests.withInstance(directory) { _, connection in
        let left = try await connection.rpc("resource.status")["drain"]
        #expect(left == [:])
      }
    }
  }

  @Test func dependenciesGoOn() async throws {
    try await StateTests.withDirectory { directory in
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      let begin = Double(time.tv_sec) + 2
      let ids = try await StateTests.withInstance(directory) { _, connection in
        var held = try InstanceTests.jobspec(["true"])
        held.set(attribute: "job.name", to: "x")
        return [
          try await InstanceTests.submit(connection, held, urgency: 0),
          try await InstanceTests.submit(connection, Self.jobspec("singleton", "", name: "x")),
          try await InstanceTests.submit(connection, Self.jobspec("begin-time", "\(begin)")),
        ]
      }
      try await StateTests.withInstance(directory) { _, connection in
        #expect(try await StateTests.state(connection, ids[1]) == .depend)
        try await connection.rpc("job-manager.urgency", ["id": ids[0].json, "urgency": 16])
        for id in ids {
          #expect(try await InstanceTests.events(connection, id).contains { $0.name == "finish" })
        }
        let events = try await InstanceTests.events(connection, ids[2])
        #expect(try #require(events.first { $0.name == "depend" }).timestamp >= begin)
      }
    }
  }

  /// A dependency that somebody posts may say anything: the instance starts again, and the job waits for whoever takes it away.
  @Test(arguments: ["begin-time=nan", "begin-time=inf", "begin-time="]) func noTimeIsNotWaitedFor(_ text: String)
    async throws
  {
    try await StateTests.withDirectory { directory in
      let id = try await StateTests.withInstance(directory) { _, connection in
        let id = try await InstanceTests.submit(connection, Self.jobspec("begin-time", "4000000000"))
        try await StateTests.post(connection, id, "dependency-add", ["description": .string(text)])
        try await StateTests.post(connection, id, "dependency-remove", ["description": "begin-time=4000000000.000"])
        return id
      }
      try await StateTests.withInstance(directory) { _, connection in
        #expect(try await StateTests.state(connection, id) == .depend)
        try await StateTests.post(connection, id, "dependency-remove", ["description": .string(text)])
        #expect(try await InstanceTests.events(connection, id).contains { $0.name == "finish" })
      }
    }
  }

  @Test func whatIsPurgedIsGone() async throws {
    try await StateTests.withDirectory { directory in
      let ids = try await StateTests.withInstance(directory) { _, connection in
        var ids: [JobID] = []
        for _ in 0..<2 {
          ids.append(try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"])))
          _ = try await InstanceTests.events(connection, try #require(ids.last))
        }
        let answer = try await connection.rpc("job-manager.purge-id", ["id": ids[1].json, "force": 1])
        #expect(answer == ["count": 1])
        return ids
      }
      try await StateTests.withInstance(directory) { _, connection in
        let left = try await connection.rpc("job-manager.history.get", ["slice": "[:]"])["jobs"]
        #expect(left == [ids[0].json])
        let next = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        #expect(next > ids[1], "ids are not given again")
      }
    }
  }
}
