// SPDX-License-Identifier: LGPL-3.0-only

import EmbeddedFlux
import FluxConnection
import FluxJob
import FluxWire
import Glibc
import NIOCore
import Testing

/// Whoever asks for much and reads it slowly gets all of it, and costs the instance no memory.
@Suite(.timeLimit(.minutes(10))) struct SlowReaderTests {
  /// Six readers of 50 MB on one connection: more than an instance lets pile up for a client.
  @Test func longLogs() async throws {
    try await InstanceTests.withInstance { try await Self.check($0, $1, length: 50_000_000, readers: 6) }
  }

  /// The same from the state directory.
  @Test func longLogsOnDisk() async throws {
    try await StateTests.withDirectory {
      try await StateTests.withInstance($0) { try await Self.check($0, $1, length: 20_000_000, readers: 2) }
    }
  }

  private static func check(
    _ instance: EmbeddedInstance, _ connection: FluxConnection, length: Int, readers: Int
  ) async throws {
    let script = "yes 0123456789abcde | head -c \(length)"
    let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sh", "-c", script]))
    _ = try await InstanceTests.events(connection, id)
    var reader = try RawClient(instance.uri.path)
    defer { close(reader.descriptor) }
    for tag in 1...readers { try reader.watch(id, tag: tag) }
    // Nobody reads yet; others are served.
    try await Task.sleep(for: .milliseconds(300))
    let size = try await connection.rpc("attr.get", ["name": "size"])
    #expect(size["value"] == "2")
    let lengths = try reader.lengths(streams: readers)
    #expect(lengths.count == readers && Set(lengths.values).count == 1, "\(lengths)")
    #expect(lengths.values.allSatisfy { $0 > length }, "\(lengths)")
  }

  /// A reader that follows a job falls behind, and the job ends: what it has not had yet comes from the state directory.
  @Test func theLogMovesMeanwhile() async throws {
    try await StateTests.withDirectory {
      try await StateTests.withInstance($0) { instance, connection in
        let script = "sleep 1; yes 0123456789abcde | head -c 20000000"
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sh", "-c", script]))
        _ = try await InstanceTests.events(connection, id, until: "start")
        var reader = try RawClient(instance.uri.path)
        defer { close(reader.descriptor) }
        try reader.watch(id, tag: 1)
        _ = try await InstanceTests.events(connection, id)
        // Its documents have left the memory.
        try await Task.sleep(for: .milliseconds(300))
        try reader.watch(id, tag: 2)
        let lengths = try reader.lengths(streams: 2)
        #expect(lengths[1] == lengths[2] && lengths[1, default: 0] > 20_000_000, "\(lengths)")
      }
    }
  }

  /// Whoever follows the log and does not read is cut off, and that is a line of the log.
  @Test func aFollowerOfTheLogIsCutOff() async throws {
    try await InstanceTests.withInstance { instance, connection in
      var reader = try RawClient(instance.uri.path)
      defer { close(reader.descriptor) }
      let streams = 32
      await connection.log(line: String(repeating: "x", count: 100))
      for tag in 1...streams { try reader.send("log.dmesg", ["follow": true], tag: tag) }
      try await reader.waitForBytes(streams * 100)
      // About 300 MiB for all streams.
      let line = String(repeating: "x", count: 16 << 10)
      for _ in 0..<(300 << 20) / (streams * line.utf8.count) { await connection.log(line: line) }
      let size = try await connection.rpc("attr.get", ["name": "size"])
      #expect(size["value"] == "2")
      while try reader.next() != nil {}
      var isSaid = 0
      for try await line in await connection.stream("log.dmesg", ["follow": false])
      where line.text?.hasSuffix("a client that does not read was cut off") == true { isSaid += 1 }
      #expect(isSaid == 1)
    }
  }

  /// What happens while the journal's backlog waits for its reader is told once, whether the job's turn has been or is still to come.
  @Test func theJournalsBacklog() async throws {
    try await InstanceTests.withInstance { instance, connection in
      var jobspec = try InstanceTests.jobspec(["true"])
      jobspec.set(attribute: "user.long", to: .string(String(repeating: "x", count: 1 << 20)))
      var ids: [JobID] = []
      for _ in 0..<10 { ids.append(try await InstanceTests.submit(connection, jobspec, urgency: 0)) }
      var reader = try RawClient(instance.uri.path)
      defer { close(reader.descriptor) }
      try reader.send("job-manager.events-journal", ["full": true], tag: 1)
      // It has begun to be told once more is there than a greeting.
      try await reader.waitForBytes(4096)
      // This is in no eventlog.
      _ = try await connection.rpc("job-manager.memo", ["id": ids[8].json, "volatile": true, "memo": ["x": 1]])
      for id in [ids[0], ids[9]] {
        _ = try await connection.rpc("job-manager.raise", ["id": id.json, "severity": 0, "type": "cancel"])
        _ = try await InstanceTests.events(connection, id)
      }
      var told: [JobID: [String]] = [:]
      var isBacklogOver = false
      try reader.read { message in
        guard let json = try message.json() else { return false }
        if json["id"]?.intValue == -1 {
          isBacklogOver = true
        } else if let id = JobID(json["id"]) {
          told[id, default: []] += json["events"]?.arrayValue?.compactMap { $0["name"]?.stringValue } ?? []
        }
        return isBacklogOver && told.values.count(where: { $0.contains("clean") }) == 2
      }
      #expect(told.count == 10 && told.values.allSatisfy { $0.count(where: { $0 == "submit" }) == 1 }, "\(told)")
      #expect(told[ids[8]]?.last == "memo", "\(told)")
      for id in [ids[0], ids[9]] {
        let names = told[id] ?? []
        #expect(Set(names).count == names.count && names.last == "clean", "\(names)")
      }
    }
  }
}
