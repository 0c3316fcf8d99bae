// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Foundation
import Testing

@testable import EmbeddedFlux

/// What a client has the state directory keep: it does not cost more than it is, and does not stop the directory.
@Suite(.timeLimit(.minutes(10))) struct HostileStateTests {
  private static func value(_ text: String) -> JSON {
    ["ver": 1, "type": "val", "data": .string(Base64.encode(text.utf8))]
  }

  private static func commit(_ connection: FluxConnection, _ namespace: String, _ operations: [JSON]) async throws {
    try await connection.rpc(
      "kvs.commit", ["namespace": .string(namespace), "flags": 0, "ops": .array(operations)])
  }

  private static func namespace(_ id: JobID) -> String { "job-\(id.encoded(.dec))" }

  /// The values that are there are not written out for each change of one of them.
  @Test func manyChangesOfAValueAreWrittenOnce() async throws {
    try await StateTests.withDirectory { directory in
      try await StateTests.withInstance(directory) { _, connection in
        let large = Self.value(String(repeating: "x", count: 1 << 17))
        for number in 0..<15 {
          try await Self.commit(
            connection, "primary", [["key": .string("delegate.\(number)"), "flags": 0, "dirent": large]])
        }
        let operations = (0..<20_000).map { number -> JSON in
          ["key": "delegate.last", "flags": 0, "dirent": Self.value("\(number)")]
        }
        try await Self.commit(connection, "primary", operations)
      }
      try await StateTests.withInstance(directory) { _, connection in
        for (key, text) in [("last", "19999"), ("14", String(repeating: "x", count: 1 << 17))] {
          let found = try await connection.rpc(
            "kvs.lookup", ["namespace": "primary", "key": .string("delegate.\(key)"), "flags": 0])
          #expect(found["val"] == Self.value(text))
        }
      }
    }
  }

  /// One log that begins anew leaves the other as it is, and does not have it written again.
  @Test func anEmptiedLogIsTheOnlyOne() async throws {
    try await StateTests.withDirectory { directory in
      let line = #"{"timestamp":1.0,"name":"data"}"# + "\n"
      let crashed = directory + "-crashed"
      defer { try? FileManager.default.removeItem(atPath: crashed) }
      let id = try await StateTests.withInstance(directory) { _, connection in
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
        try await connection.rpc("kvs.namespace-create", ["namespace": .string(Self.namespace(id))])
        for _ in 0..<2 { try await StateTests.append(connection, id, line) }
        for flags in [0, 32, 0] {
          try await Self.commit(
            connection, Self.namespace(id),
            [["key": "exec.eventlog", "flags": .int(Int64(flags)), "dirent": Self.value(line)]])
        }
        try StateTests.copy(directory, to: crashed)
        return id
      }
      try await StateTests.withInstance(crashed) { _, connection in
        try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
        #expect(try await StateTests.lookup(connection, id, "guest.output") == line + line)
        #expect(try await StateTests.lookup(connection, id, "guest.exec.eventlog") == line)
      }
    }
  }

  /// Asks for something; 0, or the error.
  private static func errnum(_ connection: FluxConnection, _ topic: String, _ payload: JSON) async -> UInt32 {
    do {
      _ = try await connection.respond(topic, payload, timeout: .seconds(600))
      return 0
    } catch { return (error as? RPCError)?.errnum ?? .max }
  }

  /// What is asked while nothing can be written waits, up to the same limit as at other times. Listings go on.
  @Test func answersThatWaitForAFullDiskAreBounded() async throws {
    try await StateTests.withDirectory { directory in
      try await StateTests.withInstance(directory) { instance, connection in
        let core = instance.core
        try await instance.loop.submit { core.value.manager.store?.maximumHeld = 4096 }.get()
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
        let unlock = try StateTests.lockDatabase(directory)
        await #expect(throws: RPCError.self) {
          try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        }
        let lookup: JSON = ["id": id.json, "keys": ["J"], "flags": 0]
        let answers = await withTaskGroup(of: UInt32.self) { group in
          for _ in 0..<20 { group.addTask { await Self.errnum(connection, "job-info.lookup", lookup) } }
          // The first that does not wait is refused. No more is needed.
          let first = await group.next() ?? 0
          let listing = await Self.errnum(connection, "job-list.list", ["max_entries": 0, "attrs": []])
          #expect(listing == 0)
          #expect(throws: Never.self) { try unlock() }
          return await group.reduce(into: [first]) { $0.append($1) }
        }
        #expect(answers.first == Errnum.again.rawValue)
        #expect(answers.contains(0))
      }
    }
  }

  /// Jobs that have ended are not all in memory because somebody has asked for their logs to be open.
  @Test func fewJobsThatHaveEndedAreWrittenOnAgain() async throws {
    try await StateTests.withDirectory { directory in
      try await StateTests.withInstance(directory) { _, connection in
        var ids: [JobID] = []
        for _ in 0..<65 {
          let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
          try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
          try await connection.rpc("kvs.namespace-create", ["namespace": .string(Self.namespace(id))])
          ids.append(id)
        }
        func isOpen(_ id: JobID) async throws -> Bool {
          let request: JSON = ["namespace": .string(Self.namespace(id)), "key": ".", "flags": 16]
          do { try await connection.rpc("kvs.lookup", request) } catch let error as RPCError {
            #expect(error.errnum == Errnum.notSupported.rawValue)
            return false
          }
          return true
        }
        #expect(try await !isOpen(ids[0]))
        #expect(try await isOpen(ids[1]))
        #expect(try await isOpen(ids[64]))
      }
    }
  }

  /// The database takes no text that is longer than it can keep, and neither does what is written to it: the rest is written.
  @Test func whatIsTooLongIsLeftOut() {
    let id = JobID(rawValue: 1)
    let place = StateBatch.Place(job: id, log: .output)
    var batch = StateBatch(maximum: 10)
    batch.append("12345\n", to: place)
    batch.append("12345\n", to: place)
    batch.note("long", "12345678901")
    batch.note("short", "1234567890")
    batch.end(id, "12345678901")
    #expect(batch.lines == [place: "12345\n"] && batch.notes == ["short": "1234567890"] && batch.ended.isEmpty)
    #expect(batch.tooLong == ["\(id): output", "long", "\(id): record"])
  }

  /// A log of a job that clients write has its limit, and is closed when it has reached it.
  @Test func aLogThatClientsWriteIsBounded() throws {
    let body = JobBody(signed: "", jobspec: try InstanceTests.jobspec(["true"]))
    body.lengths[.output] = 5
    #expect(body.admits(5, to: .output, maximum: 10) == .all)
    #expect(body.admits(6, to: .output, maximum: 10) == .nothing(isFirst: true))
    #expect(body.admits(1, to: .output, maximum: 10) == .nothing(isFirst: false))
    #expect(body.admits(10, to: .exec, maximum: 10) == .all)
  }

  /// A line that is dropped is told of once, and others can still read the log.
  @Test func whatIsDroppedOfALogIsTold() async throws {
    try await InstanceTests.withInstance { instance, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      try await connection.rpc("kvs.namespace-create", ["namespace": .string(Self.namespace(id))])
      let line = #"{"timestamp":1.0,"name":"data"}"# + "\n"
      try await StateTests.append(connection, id, line)
      let core = instance.core
      try await instance.loop.submit {
        core.value.manager.jobs[id]?.body?.lengths[.output] = JobBody.maximumLog
      }.get()
      try await StateTests.append(connection, id, line + line)
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      let events = try await InstanceTests.events(connection, id, path: "guest.output")
      #expect(events.map(\.name) == ["data", "log"])
    }
  }
}
