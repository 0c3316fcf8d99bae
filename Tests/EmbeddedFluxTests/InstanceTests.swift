// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Logging
import TestSupport
import Testing

@testable import EmbeddedFlux

/// An instance in this process, spoken to as a client does.
@Suite struct InstanceTests {
  static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// The name of the first node, with or without the right to give tasks names.
  static var hostOfRank0: String {
    if cspawn_can_set_hostname() != 0 { return "n0" }
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Starts an instance and connects to it.
  @discardableResult
  static func withInstance<Result: Sendable>(
    nodes: Int = 2, cores: Int = 2,
    _ body: @Sendable @escaping (EmbeddedInstance, FluxConnection) async throws -> Result
  ) async throws -> Result {
    let configuration = EmbeddedInstance.Configuration(name: "n", nodes: nodes, coresPerNode: cores)
    return try await EmbeddedInstance.withInstance(configuration, logger: logger) { instance in
      try await FluxConnection.withConnection(to: instance.uri, configuration: .patient, logger: logger) {
        try await body(instance, $0)
      }
    }
  }

  static func jobspec(_ command: [String], nodes: Int? = nil, tasks: Int = 1, duration: Double = 0) throws -> Jobspec {
    var request = Jobspec.Request(command: command)
    request.nodes = nodes
    request.tasks = tasks
    request.duration = duration
    request.cwd = "/"
    request.environment = [("PATH", "/usr/bin:/bin")]
    return try Jobspec(request)
  }

  static func submit(_ connection: FluxConnection, _ jobspec: Jobspec, urgency: Int64 = 16) async throws -> JobID {
    let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
    let answer = try await connection.rpc(
      "job-ingest.submit", ["J": .string(signed.text), "urgency": .int(urgency), "flags": 0])
    return try #require(JobID(answer["id"]))
  }

  /// Follows a job's eventlog to an event, or to its end.
  static func events(
    _ connection: FluxConnection, _ id: JobID, path: String = "eventlog", until last: String? = nil
  ) async throws -> [EventlogEntry] {
    var entries: [EventlogEntry] = []
    let request: JSON = ["id": id.json, "path": .string(path), "flags": 0]
    for try await response in await connection.stream("job-info.eventlog-watch", request) {
      guard let line = try response.json()?["event"]?.stringValue else { continue }
      entries.append(try EventlogEntry(parsing: line))
      if entries.last?.name == last { break }
    }
    return entries
  }

  /// Waits until a log of a job has an entry of a name.
  @discardableResult
  static func wait(_ connection: FluxConnection, _ id: JobID, for name: String, path: String) async throws
    -> EventlogEntry
  {
    let request: JSON = ["id": id.json, "path": .string(path), "flags": 1]
    for try await response in await connection.stream("job-info.eventlog-watch", request) {
      guard let line = try response.json()?["event"]?.stringValue else { continue }
      let entry = try EventlogEntry(parsing: line)
      if entry.name == name { return entry }
    }
    throw Missing(name: name)
  }

  /// An entry that has not come.
  struct Missing: Error { var name: String }

  static func output(_ connection: FluxConnection, _ id: JobID, stream: String = "stdout") async throws -> [UInt8] {
    try await events(connection, id, path: "guest.output").filter {
      $0.name == "data" && $0.context?["stream"]?.stringValue == stream
    }.flatMap { entry -> [UInt8] in
      let data = entry.context?["data"]?.stringValue ?? ""
      return entry.context?["encoding"] == nil ? Array(data.utf8) : try Base64.decode(data)
    }
  }

  @Test func aJobRunsThroughItsStates() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["echo", "hello"]))
      let events = try await Self.events(connection, id)
      #expect(
        events.map(\.name) == [
          "submit", "validate", "depend", "priority", "alloc", "start", "finish", "release", "free", "clean",
        ])
      #expect(events.first { $0.name == "finish" }?.context?["status"] == 0)
      #expect(try await Self.output(connection, id) == Array("hello\n".utf8))
    }
  }

  @Test(arguments: [
    (["sh", "-c", "exit 3"], 768), (["sh", "-c", "kill -9 $$"], 35072), (["/no/such/command"], 32512),
  ]) func waitStatus(_ command: [String], _ status: Int) async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(command))
      let events = try await Self.events(connection, id)
      #expect(events.first { $0.name == "finish" }?.context?["status"]?.intValue == Int64(status), "\(events)")
      #expect(events.contains { $0.name == "exception" } == (status == 32512))
      #expect(events.filter { $0.name == "finish" }.count == 1)
      #expect(events.filter { $0.name == "release" }.count == 1)
    }
  }

  @Test func tasksKnowTheirNodeAndRank() async throws {
    try await Self.withInstance(nodes: 2, cores: 2) { _, connection in
      let script = "echo $FLUX_TASK_RANK $FLUX_JOB_SIZE $FLUX_JOB_NNODES"
      let id = try await Self.submit(connection, Self.jobspec(["sh", "-c", script], nodes: 2, tasks: 4))
      let text = String(decoding: try await Self.output(connection, id), as: UTF8.self)
      #expect(text.split(separator: "\n").sorted() == ["0 4 2", "1 4 2", "2 4 2", "3 4 2"])
    }
  }

  @Test func binaryOutputComesWhole() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["sh", "-c", #"printf '\377\000a'; printf tail >&2"#]))
      #expect(try await Self.output(connection, id) == [0xff, 0, 0x61])
      #expect(try await Self.output(connection, id, stream: "stderr") == Array("tail".utf8))
    }
  }

  @Test func firstComeFirstServed() async throws {
    try await Self.withInstance(nodes: 1, cores: 1) { _, connection in
      let (first, second, urgent) = try await withLatch { latch in
        let ids = (
          try await Self.submit(connection, Self.jobspec(["sh", "-c", latch.wait])),
          try await Self.submit(connection, Self.jobspec(["true"])),
          try await Self.submit(connection, Self.jobspec(["true"]), urgency: 20)
        )
        try latch.open()
        _ = try await Self.events(connection, ids.0)
        return ids
      }
      var starts: [JobID: Double] = [:]
      for id in [first, second, urgent] {
        starts[id] = try await Self.events(connection, id).first { $0.name == "start" }?.timestamp
      }
      let order = [first, second, urgent].sorted { (starts[$0] ?? 0) < (starts[$1] ?? 0) }
      #expect(order == [first, urgent, second])
    }
  }

  @Test func aRequestThatCanNeverBeMetIsAnException() async throws {
    try await Self.withInstance(nodes: 2, cores: 2) { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["true"], nodes: 3, tasks: 3))
      let failure = try await Self.events(connection, id).first { $0.name == "exception" }
      #expect(failure?.context?["type"] == "alloc")
      #expect(failure?.context?["note"]?.stringValue?.contains("3 node(s)") == true)
    }
  }

  @Test func cancelEndsTheWholeProcessGroup() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["sh", "-c", "sleep 1000 & echo $!; wait"]))
      var child: pid_t = 0
      let watch = await connection.stream(
        "job-info.eventlog-watch", ["id": id.json, "path": "guest.output", "flags": 1])
      for try await response in watch {
        guard let line = try response.json()?["event"]?.stringValue, line.contains("\"data\":") else { continue }
        let text = try EventlogEntry(parsing: line).context?["data"]?.stringValue ?? ""
        child = pid_t(text.prefix { $0.isNumber }) ?? 0
        break
      }
      try #require(child > 0)
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      let events = try await Self.events(connection, id)
      #expect(events.last?.name == "clean")
      #expect(kill(child, 0) == -1 || Self.isZombie(child))
      let listed = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["result"]])
      #expect(listed["job"]?["result"]?.intValue == Int64(JobResult.canceled.rawValue))
    }
  }

  private static func isZombie(_ pid: pid_t) -> Bool {
    guard let file = fopen("/proc/\(pid)/stat", "r") else { return true }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    fgets(&line, 256, file)
    return String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).contains(") Z ")
  }

  /// More than a pipe holds, to a task that reads late: nothing is lost.
  @Test func standardInput() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["sh", "-c", "sleep 0.1; wc -c"]))
      for try await response in await connection.stream(
        "job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
      where response.text?.contains("\\\"start\\\"") == true { break }
      let service = "0-shell-\(id.encoded(.f58plain)).stdin"
      let chunk = JSON.string(String(repeating: "x", count: 50_000))
      for _ in 0..<20 { try await connection.rpc(service, ["stream": "stdin", "rank": "all", "data": chunk]) }
      try await connection.rpc(service, ["stream": "stdin", "rank": "all", "eof": true])
      let output = String(decoding: try await Self.output(connection, id), as: UTF8.self)
      #expect(output == "1000000\n")
    }
  }

  /// Asked for, a response without a payload ends what was there when the watch began, of a closed log as well.
  @Test func theSentinelOfALog() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["true"]))
      let count = try await Self.events(connection, id).count
      var payloads: [Bool] = []
      let request: JSON = ["id": id.json, "path": "eventlog", "flags": 2]
      for try await response in await connection.stream("job-info.eventlog-watch", request) {
        payloads.append(response.payload != nil)
      }
      #expect(payloads == Array(repeating: true, count: count) + [false])
    }
  }

  @Test func theTimeLimit() async throws {
    try await Self.withInstance { _, connection in
      let id = try await Self.submit(connection, Self.jobspec(["sleep", "60"], duration: 0.2))
      let events = try await Self.events(connection, id)
      #expect(events.first { $0.name == "exception" }?.context?["type"] == "timeout")
      let listed = try await connection.rpc("job-list.list-id", ["id": id.json, "attrs": ["result"]])
      #expect(listed["job"]?["result"]?.intValue == Int64(JobResult.timeout.rawValue))
    }
  }

  @Test func afterok() async throws {
    try await Self.withInstance { _, connection in
      let events = try await withLatch { latch in
        let first = try await Self.submit(connection, Self.jobspec(["sh", "-c", latch.wait]))
        var dependent = try Self.jobspec(["true"])
        dependent.set(attribute: "dependencies", to: [["scheme": "afterok", "value": .string(first.encoded(.f58))]])
        let second = try await Self.submit(connection, dependent)
        try latch.open()
        return try await Self.events(connection, second)
      }
      #expect(events.map(\.name).contains("dependency-remove"))
      #expect(events.last?.name == "clean" && !events.contains { $0.name == "exception" })
    }
  }

  @Test(arguments: [
    ("nosuch.thing", 38, "No service matching nosuch.thing is registered"),
    ("job-manager.nosuch", 38, "Unknown service method 'job-manager.nosuch'"),
  ]) func whatIsNotThereSaysSo(_ topic: String, _ errnum: UInt32, _ words: String) async throws {
    try await Self.withInstance { _, connection in
      await #expect {
        try await connection.rpc(topic)
      } throws: {
        ($0 as? RPCError)?.errnum == errnum && "\($0)" == words
      }
    }
  }

  @Test(arguments: [
    ("afterok", "f1", "dependency: afterok: id f1: job not found"),
    ("foo", "x", "dependency scheme \"foo\" not supported"),
  ]) func rejectedJobsLeaveNothing(_ scheme: String, _ value: String, _ words: String) async throws {
    try await Self.withInstance { _, connection in
      var jobspec = try Self.jobspec(["true"])
      jobspec.set(attribute: "dependencies", to: [["scheme": .string(scheme), "value": .string(value)]])
      let bad = jobspec
      await #expect {
        _ = try await Self.submit(connection, bad)
      } throws: {
        "\($0)" == words
      }
      let stats = try await connection.rpc("job-list.job-stats")
      #expect(stats["job_states"]?["total"] == 0)
    }
  }

  @Test func anotherRankIsNotThere() async throws {
    try await Self.withInstance { _, connection in
      await #expect {
        try await connection.rpc("attr.get", ["name": "size"], node: 7)
      } throws: {
        ($0 as? RPCError)?.errnum == 113
      }
    }
  }

  @Test func theInProcessTwin() async throws {
    try await Self.withInstance { instance, _ in
      let twin = try await instance.connect(logger: Self.logger)
      let size = try await twin.rpc("attr.get", ["name": "size"])
      await twin.close()
      #expect(size["value"] == "2")
    }
  }

  /// A client that sends rubbish, or half a message, costs nobody else anything.
  /// What clients write to it, as an agent does, is no JSON.
  @Test func theLogHasTheLinesOfClients() async throws {
    try await Self.withInstance { _, connection in
      let line = "<33>1 2026-01-01T00:00:00.000000Z 0 test - - - hello"
      await connection.log(line: line)
      var lines: [String] = []
      for try await response in await connection.stream("log.dmesg", ["follow": false, "nobacklog": false]) {
        lines.append(response.text ?? "")
      }
      #expect(lines.contains(line), "\(lines)")
    }
  }

  @Test func badClients() async throws {
    try await Self.withInstance { instance, connection in
      var sockets: [CInt] = []
      for bytes in ["GET / HTTP/1.0\r\n\r\n", "\u{12}\0", "", "\u{12}\0"] {
        sockets.append(try Self.connect(instance.uri.path, Array(bytes.utf8)))
      }
      let zero = try Self.connect(instance.uri.path, [0x12, 0, 0xee, 0xff, 0, 0, 0, 0])
      let size = try await connection.rpc("attr.get", ["name": "size"])
      #expect(size["value"] == "2")
      for socket in sockets + [zero] { close(socket) }
      let again = try await connection.rpc("attr.get", ["name": "size"])
      #expect(again["value"] == "2")
    }
  }

  static func connect(_ path: String, _ bytes: [UInt8]) throws -> CInt {
    let descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(result == 0)
    _ = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    return descriptor
  }
}
