// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Foundation
import Glibc
import Testing

@testable import EmbeddedFlux

/// What the state directory keeps. An instance that is killed leaves its files as they are: a copy of them is what the next one finds.
@Suite(.timeLimit(.minutes(10))) struct StateTests {
  /// A new directory, removed at the end.
  static func withDirectory(_ body: (String) async throws -> Void) async throws {
    let path = "/tmp/fd-state-\(UUID().uuidString.prefix(12))"
    mkdir(path, 0o700)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try await body(path)
  }

  static func withInstance<Result: Sendable>(
    _ directory: String, settings: JSON = [:],
    _ body: @Sendable @escaping (EmbeddedInstance, FluxConnection) async throws -> Result
  ) async throws -> Result {
    let configuration = EmbeddedInstance.Configuration(
      name: "n", nodes: 2, coresPerNode: 2, settings: settings, stateDirectory: directory)
    return try await EmbeddedInstance.withInstance(configuration, logger: InstanceTests.logger) { instance in
      try await FluxConnection.withConnection(
        to: instance.uri, configuration: .patient, logger: InstanceTests.logger
      ) {
        try await body(instance, $0)
      }
    }
  }

  /// What `kill -9` would leave now.
  static func copy(_ directory: String, to other: String) throws {
    mkdir(other, 0o700)
    for end in ["", "-wal"] {
      let file = "/state.sqlite" + end
      try? FileManager.default.removeItem(atPath: other + file)
      try FileManager.default.copyItem(atPath: directory + file, toPath: other + file)
    }
  }

  static func state(_ connection: FluxConnection, _ id: JobID) async throws -> JobState? {
    let answer = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["state"]])
    return answer["job"]?["state"]?.intValue.flatMap { JobState(rawValue: Int($0)) }
  }

  static func lookup(_ connection: FluxConnection, _ id: JobID, _ key: String) async throws -> String? {
    try await connection.rpc("job-info.lookup", ["id": id.json, "keys": [.string(key)], "flags": 0])[key]?.stringValue
  }

  static func post(_ connection: FluxConnection, _ id: JobID, _ name: String, _ context: JSON = [:]) async throws {
    _ = try await connection.rpc(
      "job-manager.post-event.post", ["id": id.json, "name": .string(name), "context": context])
  }

  /// All that can be asked of a job that has ended is the same as before.
  @Test func aFinishedJobIsWhole() async throws {
    try await Self.withDirectory { directory in
      let keys = ["J", "jobspec", "R", "eventlog", "guest.exec.eventlog", "guest.output"]
      let (id, before, listed) = try await Self.withInstance(directory) { _, connection in
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["echo", "hello"], tasks: 2))
        let events = try await InstanceTests.events(connection, id)
        #expect(events.last?.name == "clean")
        let output = try await InstanceTests.output(connection, id)
        #expect(output == Array("hello\nhello\n".utf8))
        var before: [String?] = []
        for key in keys { before.append(try await Self.lookup(connection, id, key)) }
        let listed = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["all"]])
        return (id, before, listed)
      }
      #expect(before.allSatisfy { $0 != nil })
      try await Self.withInstance(directory) { _, connection in
        for (key, text) in zip(keys, before) {
          #expect(try await Self.lookup(connection, id, key) == text, "\(key)")
        }
        #expect(try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["all"]]) == listed)
        #expect(try await InstanceTests.output(connection, id) == Array("hello\nhello\n".utf8))
        let next = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        #expect(next > id)
      }
    }
  }

  /// A job that a plugin's prolog holds stays in RUN with its resources and its logs, and ends by its plugin.
  @Test func aJobInAPrologStays() async throws {
    try await Self.withDirectory { directory in
      let crashed = directory + "-crashed"
      defer { try? FileManager.default.removeItem(atPath: crashed) }
      let id = try await Self.withInstance(directory) { _, connection in
        let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["false"]), urgency: 0)
        try await Self.post(connection, id, "prolog-start", ["description": "p"])
        _ = try await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
        for try await response in await connection.stream(
          "job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
        { if try response.json()?["event"]?.stringValue?.contains("alloc") == true { break } }
        try await Self.post(connection, id, "start")
        _ = try await connection.rpc("kvs.namespace-create", ["namespace": .string("job-\(id.encoded(.dec))")])
        try await Self.append(connection, id, #"{"timestamp":1.0,"name":"header"}"# + "\n")
        try Self.copy(directory, to: crashed)
        return id
      }
      try await Self.withInstance(crashed) { _, connection in
        #expect(try await Self.state(connection, id) == .run)
        let allocated = try await connection.rpc("resource.sched-status")["allocated"]
        #expect(try ResourceSet(#require(allocated)).coreCount == 1)
        try await Self.append(connection, id, #"{"timestamp":2.0,"name":"data"}"# + "\n")
        try await Self.post(connection, id, "finish", ["status": 256])
        #expect(try await Self.state(connection, id) == .cleanup)
        _ = try await connection.rpc("kvs.namespace-remove", ["namespace": .string("job-\(id.encoded(.dec))")])
        try await Self.post(connection, id, "prolog-finish", ["description": "p", "status": 0])
        #expect(try await Self.state(connection, id) == .inactive)
        let free = try await connection.rpc("resource.sched-status")["allocated"]
        #expect(try ResourceSet(#require(free)).isEmpty)
        #expect(try await Self.lookup(connection, id, "guest.output")?.split(separator: "\n").count == 2)
      }
    }
  }

  static func append(_ connection: FluxConnection, _ id: JobID, _ text: String) async throws {
    let operation: JSON = [
      "key": "output", "flags": 32, "dirent": ["ver": 1, "type": "val", "data": .string(Base64.encode(text.utf8))],
    ]
    _ = try await connection.rpc(
      "kvs.commit", ["namespace": .string("job-\(id.encoded(.dec))"), "flags": 0, "ops": [operation]])
  }

  /// Pending jobs wait again; what ran is lost, and says so; ids go on.
  @Test func activeJobsGoOn() async throws {
    try await Self.withDirectory { directory in
      let crashed = directory + "-crashed"
      defer { try? FileManager.default.removeItem(atPath: crashed) }
      let ids = try await Self.withInstance(directory) { _, connection in
        let running = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sleep", "1000"]))
        for try await response in await connection.stream(
          "job-info.eventlog-watch", ["id": running.json, "path": "guest.exec.eventlog", "flags": 0])
        { if try response.json()?["event"]?.stringValue?.contains("shell.start") == true { break } }
        let held = try await InstanceTests.submit(connection, InstanceTests.jobspec(["echo", "x"]), urgency: 0)
        var dependent = try InstanceTests.jobspec(["true"])
        dependent.set(
          attribute: "system.dependencies", to: [["scheme": "afterany", "value": .string(running.encoded(.f58))]])
        let after = try await InstanceTests.submit(connection, dependent)
        _ = try await connection.rpc("job-manager.memo", ["id": held.json, "memo": ["a": 1]])
        try Self.copy(directory, to: crashed)
        return [running, held, after]
      }
      try await Self.withInstance(crashed) { _, connection in
        let lost = try await InstanceTests.events(connection, ids[0])
        #expect(lost.suffix(5).map(\.name) == ["exception", "finish", "release", "free", "clean"])
        let log = try await InstanceTests.events(connection, ids[0], path: "guest.exec.eventlog")
        #expect(log.last?.name == "done")
        #expect(try await Self.state(connection, ids[1]) == .sched)
        let held = try await connection.rpc("job-list.list-id", ["id": ids[1].json, "attrs": ["annotations"]])
        #expect(held["job"]?["annotations"]?["user"]?["a"] == 1)
        #expect(try await InstanceTests.events(connection, ids[2]).last?.name == "clean")
        let next = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        #expect(next > ids[2])
      }
    }
  }

  /// Who was waited for, and which queues are stopped, is known again.
  @Test func queuesAndWaits() async throws {
    try await Self.withDirectory { directory in
      let settings: JSON = [
        "queues": ["x": [:], "y": [:]],
        "policy": ["jobspec": ["defaults": ["system": ["duration": "1h", "queue": "y"]]]],
      ]
      let id = try await Self.withInstance(directory) { _, connection in
        _ = try await connection.rpc("job-manager.queue-start", ["start": false, "all": true, "reason": "later"])
        let jobspec = try InstanceTests.jobspec(["true"])
        let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
        let answer = try await connection.rpc(
          "job-ingest.submit", ["J": .string(signed.text), "urgency": 16, "flags": 4])
        let id = try #require(JobID(answer["id"]))
        _ = try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
        #expect(try await connection.rpc("job-manager.wait", ["id": id.json])["success"] == false)
        return id
      }
      try await Self.withInstance(directory) { _, connection in
        let queue = try await connection.rpc("job-manager.queue-status", [:])
        #expect(queue["start"] == false && queue["stop_reason"] == "later")
        await #expect(throws: (any Error).self) { try await connection.rpc("job-manager.wait", ["id": id.json]) }
      }
      let queued = try await Self.withInstance(directory, settings: settings) { _, connection in
        _ = try await connection.rpc("job-manager.queue-start", ["name": "x", "start": true, "all": false])
        return try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
      }
      try await Self.withInstance(directory, settings: settings) { _, connection in
        let job = try await connection.rpc("job-list.list-id", ["id": queued.json, "attrs": ["queue", "duration"]])[
          "job"]
        #expect(job?["queue"] == "y" && job?["duration"]?.doubleValue == 3600)
        #expect(try await Self.state(connection, queued) == .sched)
        for (name, isStarted) in [("x", true), ("y", false)] {
          let queue = try await connection.rpc("job-manager.queue-status", ["name": .string(name)])
          #expect(queue["start"] == .bool(isStarted))
        }
      }
    }
  }

  /// As long as the disk has not taken it, nobody is told, and nothing runs.
  @Test func nothingIsAnsweredBeforeItIsWritten() async throws {
    try await Self.withDirectory { directory in
      let mark = directory + "/ran"
      try await Self.withInstance(directory) { instance, connection in
        _ = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
        let unlock = try Self.lockDatabase(directory)
        let received = try await instance.received()
        let isAnswered = Flag()
        let answer = Task {
          let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["touch", mark]))
          await isAnswered.set()
          return id
        }
        while try await instance.received() == received { try await Task.sleep(for: .milliseconds(5)) }
        let listing = Task { try await connection.rpc("job-list.list", ["max_entries": 0, "attrs": []]) }
        try await Task.sleep(for: .milliseconds(300))
        await #expect(!isAnswered.isSet && access(mark, F_OK) != 0)
        try unlock()
        let id = try await answer.value
        #expect(try await InstanceTests.events(connection, id).last?.name == "clean")
        #expect(access(mark, F_OK) == 0)
        #expect(try await listing.value["jobs"]?.arrayValue?.count == 2)
      }
    }
  }

  /// Keeps the instance from writing, until what is returned is called.
  static func lockDatabase(_ directory: String) throws -> () throws -> Void {
    let database = try Database(directory + "/state.sqlite")
    try database.execute("BEGIN IMMEDIATE")
    return { try database.execute("COMMIT") }
  }

  private actor Flag {
    private(set) var isSet = false
    func set() { isSet = true }
  }

  /// What cannot be used is refused with words, and left as it is.
  @Test func refusedDirectories() async throws {
    try await Self.withDirectory { directory in
      let file = directory + "/state.sqlite"
      @Sendable func refusal() async -> String {
        do { try await Self.withInstance(directory) { _, _ in } } catch { return "\(error)" }
        return "started"
      }
      try await Self.withInstance(directory) { _, connection in
        _ = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
        await #expect(refusal().contains("another instance uses the state directory"))
      }
      let good = try Data(contentsOf: URL(fileURLWithPath: file))
      func change(_ offset: Int, _ bytes: [UInt8]) throws {
        var data = good
        data.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        try data.write(to: URL(fileURLWithPath: file))
      }
      for (offset, bytes, words) in [
        (60, [0, 0, 0, 9], "newer flux-delegate (schema 9, this one knows 1)"),
        (68, [1, 2, 3, 4], "another program's database"), (0, [UInt8](repeating: 7, count: 16), "damaged"),
        (100, [UInt8](repeating: 0xaa, count: good.count - 100), "malformed"),
      ] {
        try change(offset, bytes)
        let before = try Data(contentsOf: URL(fileURLWithPath: file))
        let answer = await refusal()
        #expect(answer.contains(words) && answer.contains("nothing was changed"), "\(answer)")
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == before)
      }
      try good.write(to: URL(fileURLWithPath: file))
      chmod(directory, 0o755)
      await #expect(refusal().contains("chmod 700"))
      chmod(directory, 0o700)
      await #expect(refusal() == "started")
    }
  }

  /// Lines of one log are one text; logs that go take what was not written yet with them.
  @Test func batches() {
    var batch = StateBatch()
    let place = StateBatch.Place(job: JobID(rawValue: 1), log: .output)
    batch.append("a\n", to: place)
    batch.append("b\n", to: place)
    #expect(batch.lines == [place: "a\nb\n"] && !batch.isEmpty)
    let other = StateBatch.Place(job: place.job, log: .execution)
    batch.append("d\n", to: other)
    batch.empty(place)
    batch.append("c\n", to: place)
    #expect(batch.lines == [place: "c\n", other: "d\n"] && batch.emptied == [place])
  }
}

extension EmbeddedInstance {
  /// How many messages have come from clients.
  fileprivate func received() async throws -> UInt64 {
    let core = core
    return try await loop.submit { core.value.broker.received }.get()
  }
}
