// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Testing

@testable import EmbeddedFlux

/// Terminals of tasks (`-o pty`), with the protocol of Flux's terminal server. As a Flux 0.88 was seen to do.
@Suite struct TerminalTests {
  private static let attach: JSON = ["type": "attach", "mode": "rw", "winsize": ["rows": 30, "cols": 40]]

  @Test(
    arguments: [
      (["foo": 1], "invalid shell pty option: 1 object item(s) left unpacked: foo"),
      (["capture": "x"], "invalid shell pty option: Expected integer, got string"),
      (["capture": false], "invalid shell pty option: Expected integer, got false"),
      (["interactive": 1.5], "invalid shell pty option: Expected integer, got real"),
      (["ranks": "x"], "pty: shell_taskids_intersect"),
    ] as [(JSON, String)]) func mistakes(_ option: JSON, _ words: String)
  {
    do {
      _ = try TerminalOption(option)
      Issue.record("\(option) is no terminal")
    } catch { #expect(error.component == "pty" && error.text == words) }
  }

  @Test func options() throws {
    #expect(try TerminalOption(nil) == nil)
    for option in [1, 0, "x", false] as [JSON] {
      let all = try #require(try TerminalOption(option))
      #expect(all.ranks == nil && all.captures(0) && !all.awaitsClient(0) && all.note.isEmpty)
    }
    let interactive = try #require(try TerminalOption(["interactive": 1]))
    #expect(interactive.ranks == [0] && !interactive.captures(0) && interactive.note == ["pty": "terminus.0"])
    let both = try #require(try TerminalOption(["interactive": 1, "capture": 1, "ranks": "1-2"]))
    #expect(both.ranks == [0, 1, 2] && both.warnings.count == 1 && both.note == ["pty": "terminus.0", "capture": 1])
    #expect(both.captures(0) && both.awaitsClient(0) && !both.awaitsClient(1))
    #expect(try TerminalOption(["ranks": 3])?.ranks == [3] && TerminalOption(["ranks": 1.5])?.ranks == nil)
  }

  // MARK: Jobs

  private static func submit(_ connection: FluxConnection, _ script: String, tasks: Int = 1, _ pty: JSON) async throws
    -> JobID
  {
    var jobspec = try InstanceTests.jobspec(["sh", "-c", script], tasks: tasks)
    jobspec.set(attribute: "shell.options", to: ["pty": pty])
    return try await InstanceTests.submit(connection, jobspec)
  }

  /// What a task has written.
  private static func written(_ entries: [EventlogEntry], _ rank: String) -> String {
    entries.filter { $0.context?["rank"]?.stringValue == rank }.compactMap { $0.context?["data"]?.stringValue }.joined()
  }

  /// The streams of a task that have ended, in that order.
  private static func ends(_ entries: [EventlogEntry], _ rank: String) -> [String] {
    entries.filter { $0.context?["rank"]?.stringValue == rank && $0.context?["eof"] == true }.compactMap {
      $0.context?["stream"]?.stringValue
    }
  }

  /// Attaches, and waits until something has come.
  private static func readSomething(_ connection: FluxConnection, _ id: JobID) async throws {
    for try await response in await connection.stream(topic(id), attach) {
      let message = try response.json() ?? [:]
      if message["type"] == "data" { return }
    }
  }

  private static func type(_ text: String, _ connection: FluxConnection, _ id: JobID) async throws {
    try await connection.rpc(topic(id), ["type": "data", "data": .string(text)])
  }

  private static func topic(_ id: JobID, _ rest: String = "0") -> String {
    "0-shell-\(id.encoded(.f58plain)).terminus.\(rest)"
  }

  @Test func outputOfATerminal() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let script = "tty >/dev/null && [ -t 2 ] && stty size && echo err >&2 && echo $FLUX_TERMINUS_SESSION; exit 3"
      let id = try await Self.submit(connection, script, tasks: 2, 1)
      let events = try await InstanceTests.events(connection, id)
      #expect(events.first { $0.name == "finish" }?.context?["status"] == 768)
      let entries = try await InstanceTests.events(connection, id, path: "guest.output")
      for rank in ["0", "1"] {
        #expect(Self.written(entries, rank) == "25 80\r\nerr\r\n0\r\n")
        #expect(Self.ends(entries, rank) == ["stderr", "stdout"])
      }
    }
  }

  @Test func someTasks() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let id = try await Self.submit(connection, "echo x", tasks: 2, ["ranks": "1"])
      let entries = try await InstanceTests.events(connection, id, path: "guest.output")
      #expect(Self.written(entries, "0") == "x\n" && Self.written(entries, "1") == "x\r\n")
    }
  }

  /// More than a terminal holds comes whole.
  @Test func muchOutput() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await Self.submit(connection, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done", 1)
      let output = try await InstanceTests.output(connection, id)
      #expect(output.count == (0..<20000).reduce(0) { $0 + "line \($1)\r\n".utf8.count })
    }
  }

  @Test func anInteractiveTerminal() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await Self.submit(
        connection, "stty -echo; echo ready; read x; stty size; read a; stty size; echo got $a; exit 4",
        ["interactive": 1])
      let shell = try await InstanceTests.wait(connection, id, for: "shell.init", path: "guest.exec.eventlog")
      #expect(shell.context?["pty"] == "terminus.0")
      try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
      let sessions = try await connection.rpc(Self.topic(id, "list"), [:])["sessions"]?.arrayValue
      #expect(sessions?.count == 1 && sessions?.first?["name"] == "task0" && sessions?.first?["clients"] == 0)
      var seen = ""
      var last: JSON?
      for try await response in await connection.stream(Self.topic(id), Self.attach) {
        let message = try response.json() ?? [:]
        last = message
        seen += message["data"]?.stringValue ?? ""
        guard message["type"] == "data" else { continue }
        if seen.hasSuffix("ready\r\n") { try await Self.type("\r", connection, id) }
        guard seen.hasSuffix("30 40\r\n") else { continue }
        try await connection.rpc(Self.topic(id), ["type": "resize", "winsize": ["rows": 31, "cols": 41]])
        try await Self.type("hello\r", connection, id)
      }
      #expect(seen == "ready\r\n30 40\r\n31 41\r\ngot hello\r\n", "\(seen)")
      #expect(last == ["type": "exit", "message": "session exiting", "status": 1024])
      let events = try await InstanceTests.events(connection, id)
      #expect(events.first { $0.name == "finish" }?.context?["status"] == 1024)
      #expect(try await InstanceTests.output(connection, id).isEmpty, "it is the client's alone")
    }
  }

  @Test func whatIsRefused() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await Self.submit(connection, "sleep 60", ["interactive": 1])
      try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
      func errnum(_ payload: JSON, _ session: String = "0") async -> UInt32? {
        do {
          try await connection.rpc(Self.topic(id, session), payload)
          return nil
        } catch { return (error as? RPCError)?.errnum }
      }
      #expect(await errnum(["type": "data", "data": "x"]) == 2)
      #expect(await errnum(["type": "foo"], "1") == 38)
      #expect(await errnum([:]) == 71)
      #expect(await errnum(["type": "attach", "mode": "x"]) == 71)
      #expect(await errnum(["type": "attach", "mode": "rw"]) == 71)
      #expect(await errnum(["type": "attach", "mode": "rw", "winsize": ["rows": 0, "cols": 4]]) == 22)
      #expect(await errnum(["type": "attach", "mode": "rw", "winsize": ["rows": 70000, "cols": 4]]) == 22)
      for try await response in await connection.stream(Self.topic(id), Self.attach) {
        let message = try response.json() ?? [:]
        if message["type"] == "exit" {
          #expect(message == ["type": "exit", "message": "Client requested detach", "status": 0])
          continue
        }
        #expect(await errnum(Self.attach) == 17)
        #expect(await errnum(["type": "foo"]) == 38)
        #expect(await errnum(["type": "data"]) == 71)
        #expect(await errnum(["type": "data", "encoding": "x", "data": "x"]) == 71)
        #expect(await errnum(["type": "resize"]) == 71)
        let big = JSON.string(String(repeating: "x", count: Terminal.maximumInput + 1))
        #expect(await errnum(["type": "data", "data": big]) == 16)
        #expect(await errnum(["type": "detach"]) == nil)
      }
      #expect(await errnum(["type": "detach"]) == 2)
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      let events = try await InstanceTests.events(connection, id)
      #expect(events.last?.name == "clean")
    }
  }

  /// Who comes late still sees what was written, and the job waits for that; it does not when it is cancelled.
  @Test func itWaitsForAClient() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await Self.submit(connection, "echo done", ["interactive": 1])
      try await InstanceTests.wait(connection, id, for: "shell.task-exit", path: "guest.exec.eventlog")
      var seen = ""
      for try await response in await connection.stream(Self.topic(id), Self.attach) {
        seen += try response.json()?["data"]?.stringValue ?? ""
      }
      #expect(seen == "done\r\n")
      #expect(try await InstanceTests.events(connection, id).last?.name == "clean")
      let other = try await Self.submit(connection, "echo done", ["interactive": 1])
      try await InstanceTests.wait(connection, other, for: "shell.task-exit", path: "guest.exec.eventlog")
      try await connection.rpc("job-manager.raise", ["id": other.json, "type": "cancel", "severity": 0])
      #expect(try await InstanceTests.events(connection, other).last?.name == "clean")
    }
  }

  /// What is captured is in the log as well; a client that goes away leaves the job alone.
  @Test func captured() async throws {
    try await InstanceTests.withInstance { instance, connection in
      let id = try await Self.submit(connection, "echo a; read x; echo b", ["interactive": 1, "capture": 1])
      try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
      try await FluxConnection.withConnection(to: instance.uri, configuration: .patient, logger: InstanceTests.logger) {
        other in
        try await Self.readSomething(other, id)
      }
      for try await response in await connection.stream(Self.topic(id), ["type": "attach", "mode": "wo"]) {
        guard try response.json()?["type"] == "attach" else { continue }
        try await connection.rpc(Self.topic(id), ["type": "data", "encoding": "base64", "data": "DQ=="])
      }
      let output = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(output.hasPrefix("a\r\n") && output.hasSuffix("b\r\n"), "\(output)")
    }
  }

  /// A program that outlives its task does not hold the job up for ever.
  @Test func whatIsLeftBehind() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await Self.submit(connection, "trap '' HUP; sleep 30 & echo x", 1)
      #expect(try await InstanceTests.events(connection, id).last?.name == "clean")
      #expect(try await InstanceTests.output(connection, id) == Array("x\r\n".utf8))
    }
  }
}
