// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Foundation
import Testing

@testable import EmbeddedFlux

/// A job's eventlog is cut off after each of its events: whatever the next instance finds, the job ends once, and gives back what it had.
@Suite(.timeLimit(.minutes(10))) struct StatePrefixTests {
  private struct Ended {
    var id: JobID
    var events: [EventlogEntry]
  }

  @Test func aJobThatRan() async throws {
    try await check { connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
      return Ended(id: id, events: try await InstanceTests.events(connection, id))
    }
  }

  @Test func aJobThatWasCancelled() async throws {
    // It runs until it is cancelled, and whatever is left of it ends at once.
    let mark = FileManager.default.temporaryDirectory.appending(path: "fd-prefix-\(UUID().uuidString)").path
    defer { unlink(mark) }
    try await check { connection in
      let command = ["sh", "-c", "test -e \(mark) || { touch \(mark); exec sleep 60; }"]
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(command))
      while access(mark, F_OK) != 0 { try await Task.sleep(for: .milliseconds(5)) }
      _ = try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      return Ended(id: id, events: try await InstanceTests.events(connection, id))
    }
  }

  @Test func aJobInAProlog() async throws {
    try await check { connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["false"]), urgency: 0)
      try await StateTests.post(connection, id, "prolog-start", ["description": "p"])
      _ = try await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
      let watch: JSON = ["id": id.json, "path": "eventlog", "flags": 0]
      for try await response in await connection.stream("job-info.eventlog-watch", watch) {
        if try response.json()?["event"]?.stringValue?.contains("alloc") == true { break }
      }
      try await StateTests.post(connection, id, "start")
      try await StateTests.post(connection, id, "finish", ["status": 256])
      try await StateTests.post(connection, id, "prolog-finish", ["description": "p", "status": 0])
      return Ended(id: id, events: try await InstanceTests.events(connection, id))
    }
  }

  /// Has a job end, and starts an instance for each beginning of its eventlog.
  private func check(_ make: @Sendable @escaping (FluxConnection) async throws -> Ended) async throws {
    try await StateTests.withDirectory { directory in
      let ended = try await StateTests.withInstance(directory) { _, connection in try await make(connection) }
      #expect(ended.events.last?.name == "clean")
      for count in 1..<ended.events.count {
        let other = "\(directory)-\(count)"
        defer { try? FileManager.default.removeItem(atPath: other) }
        mkdir(other, 0o700)
        try FileManager.default.copyItem(atPath: directory + "/state.sqlite", toPath: other + "/state.sqlite")
        try Self.cut(other, Array(ended.events.prefix(count)), of: ended.id)
        try await StateTests.withInstance(other) { _, connection in
          let names = try await Self.end(connection, ended.id)
          for name in ["start", "finish", "free", "clean"] {
            #expect(names.filter { $0 == name }.count <= 1, "cut after \(count): \(names)")
          }
          #expect(names.last == "clean", "cut after \(count): \(names)")
          let left = try await connection.rpc("resource.sched-status")["allocated"]
          #expect(try ResourceSet(#require(left)).isEmpty, "cut after \(count): \(names)")
        }
      }
    }
  }

  private static func cut(_ directory: String, _ events: [EventlogEntry], of id: JobID) throws {
    let database = try Database(directory + "/state.sqlite")
    try database.run("UPDATE jobs SET record = NULL WHERE id = ?", id.value)
    try database.run("DELETE FROM lines WHERE job = ? AND log = 0", id.value)
    let text = events.map(\.line).joined()
    try database.run("INSERT INTO lines VALUES (?, 0, 1, ?)", id.value, .text(text))
    database.close()
  }

  /// Does what is left to do for somebody else, and returns the names of all events once the job has ended.
  private static func end(_ connection: FluxConnection, _ id: JobID) async throws -> [String] {
    let names = try await StateTests.lookup(connection, id, "eventlog")?.split(separator: "\n") ?? []
    let has = { (name: String) in names.contains { $0.contains("\"\(name)\"") } }
    if !has("clean"), has("prolog-start"), !has("prolog-finish") {
      if try await StateTests.state(connection, id) == .run {
        try await StateTests.post(connection, id, "finish", ["status": 256])
        try await StateTests.post(connection, id, "prolog-finish", ["description": "p", "status": 0])
      } else {
        _ = try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
        try await StateTests.post(connection, id, "prolog-finish", ["description": "p", "status": 0])
      }
    } else if try await StateTests.state(connection, id) == .sched {
      // It may run by itself by now.
      _ = try? await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
    }
    return try await InstanceTests.events(connection, id).map(\.name)
  }
}
