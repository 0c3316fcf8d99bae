// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Testing

@testable import EmbeddedFlux

/// The log of a job's standard input. As a Flux 0.88 was seen to keep it.
@Suite struct InputTests {
  private static let header = """
    {"version":1,"encoding":{"stdin":"UTF-8"},"count":{"stdin":1},"options":{}}
    """

  @Test(
    arguments: [
      (nil, 10 << 20), (["limit": 10], 10), (["limit": "1k"], 1024), (["limit": "1.5K"], 1536),
      (["limit": "32M"], 32 << 20),
      (["limit": 33_554_432], 32 << 20),
    ] as [(JSON?, Int)]) func limits(_ option: JSON?, _ limit: Int) throws
  {
    #expect(try InputLog(option).limit == limit)
  }

  @Test(
    arguments: [
      (["limit": 0], "Invalid KVS input.limit=0"), (["limit": -1], "Invalid KVS input.limit=-1"),
      (["limit": "x"], "Invalid KVS input.limit=x"), (["limit": "33M"], "Invalid KVS input.limit=33M"),
      (["limit": "1KiB"], "Invalid KVS input.limit=1KiB"), (["limit": "-1"], "Invalid KVS input.limit=-1"),
      (["limit": "nan"], "Invalid KVS input.limit=nan"), (["limit": ""], "Invalid KVS input.limit="),
      (["limit": true], "Unable to convert input.limit to string"),
    ] as [(JSON, String)]) func mistakes(_ option: JSON, _ words: String)
  {
    do {
      _ = try InputLog(option)
      Issue.record("\(option) is no limit")
    } catch {
      #expect(error.earlier.map(\.text) == [words] && error.text == "failed to initialize input ctx")
    }
  }

  @Test func whatIsTooMuch() throws {
    var log = try InputLog(["limit": "1k"])
    #expect(log.add(bytes: 1024, size: 1100) == .keep)
    guard case .refuse(let words) = log.add(bytes: 1, size: 80) else { return #expect(Bool(false)) }
    #expect(words.hasPrefix("stdin exceeds 1K limit. Try file input (flux submit --input=FILE) or redirect"))
    var small = try InputLog(["limit": 1500])
    guard case .refuse(let exact) = small.add(bytes: 1501, size: 1) else { return #expect(Bool(false)) }
    #expect(exact.hasPrefix("stdin exceeds 1.46484K limit"))
    // Many small pieces are kept up to a limit, and passed on beyond it.
    var pieces = try InputLog(nil)
    #expect(pieces.add(bytes: 0, size: InputLog.maximum) == .keep)
    #expect(pieces.add(bytes: 1, size: 80) == .pass(isFirst: true))
    #expect(pieces.add(bytes: 1, size: 80) == .pass(isFirst: false))
  }

  // MARK: Jobs

  private static func start(_ connection: FluxConnection, _ command: [String], tasks: Int = 1, _ options: JSON = [:])
    async throws -> (id: JobID, service: String)
  {
    var jobspec = try InstanceTests.jobspec(command, tasks: tasks)
    jobspec.set(attribute: "shell.options", to: options)
    let id = try await InstanceTests.submit(connection, jobspec)
    try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
    return (id, "0-shell-\(id.encoded(.f58plain)).stdin")
  }

  private static func entries(_ connection: FluxConnection, _ id: JobID) async throws -> [String] {
    let answer = try await connection.rpc(
      "job-info.lookup", ["id": id.json, "keys": ["guest.input"], "flags": 0])
    return try (answer["guest.input"]?.stringValue ?? "").split(separator: "\n").map { line in
      let entry = try EventlogEntry(parsing: String(line))
      return "\(entry.name) \(JSON.object(entry.context ?? [:]).text)"
    }
  }

  @Test func whatIsSentIsKept() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let (id, service) = try await Self.start(connection, ["cat"], tasks: 2)
      #expect(try await Self.entries(connection, id) == ["header \(Self.header)"])
      async let followed = InstanceTests.events(connection, id, path: "guest.input").map(\.name)
      try await connection.rpc(service, ["stream": "stdin", "rank": "all", "data": "a\n"])
      try await connection.rpc(service, ["stream": "stdin", "rank": "0", "encoding": "base64", "data": "/w=="])
      try await connection.rpc(service, ["stream": "stdin", "rank": "0", "eof": true])
      try await connection.rpc(service, ["stream": "stdin", "rank": "all", "data": "z", "eof": true, "more": 1])
      _ = try await InstanceTests.events(connection, id)
      #expect(
        try await Self.entries(connection, id) == [
          "header \(Self.header)", #"data {"stream":"stdin","rank":"all","data":"a\n"}"#,
          #"data {"stream":"stdin","rank":"0","encoding":"base64","data":"/w=="}"#,
          #"data {"stream":"stdin","rank":"0","eof":true}"#,
          #"data {"stream":"stdin","rank":"all","data":"z","eof":true}"#,
        ])
      let names = try await followed
      #expect(names == ["header", "data", "data", "data", "data"])
      let output = try await InstanceTests.output(connection, id)
      #expect(output.count == 6 && output.contains(0xff) && output.contains(UInt8(ascii: "z")))
    }
  }

  /// Who follows the log of a job that has not started yet sees its header once.
  @Test func followedFromTheStart() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["cat"]), urgency: 0)
      async let followed = InstanceTests.events(connection, id, path: "guest.input").map(\.name)
      try await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
      try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
      let service = "0-shell-\(id.encoded(.f58plain)).stdin"
      try await connection.rpc(service, ["stream": "stdin", "rank": "all", "eof": true])
      #expect(try await followed == ["header", "data"])
    }
  }

  @Test func whatIsRefused() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let (id, service) = try await Self.start(connection, ["sleep", "60"], tasks: 2)
      func errnum(_ payload: JSON) async -> UInt32? {
        do {
          try await connection.rpc(service, payload)
          return nil
        } catch { return (error as? RPCError)?.errnum }
      }
      #expect(await errnum([:]) == 71)
      #expect(await errnum(["stream": "stdin", "rank": "0"]) == 71)
      #expect(await errnum(["stream": "stdin", "rank": 0, "data": "x"]) == 71)
      #expect(await errnum(["stream": "stdin", "rank": "x", "data": "x"]) == 22)
      #expect(await errnum(["stream": "stdin", "rank": "0,5", "data": "x"]) == 32)
      #expect(await errnum(["stream": "stdin", "rank": "0", "eof": false]) == nil)
      #expect(await errnum(["stream": "stdin", "rank": "0", "eof": true]) == nil)
      #expect(await errnum(["stream": "stdin", "rank": "0", "data": "x"]) == 32)
      #expect(await errnum(["stream": "stdin", "rank": "all", "eof": true]) == nil)
      #expect(await errnum(["stream": "stdin", "rank": "all", "data": "x"]) == 32)
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
    }
  }

  @Test func tooMuchEndsTheJob() async throws {
    try await InstanceTests.withInstance { _, connection in
      let (id, service) = try await Self.start(connection, ["cat"], ["input": ["limit": "1k"]])
      // As from Flux's shell, which is gone, there is no answer.
      let big = JSON.string(String(repeating: "x", count: 2000))
      async let _ = try? connection.rpc(service, ["stream": "stdin", "rank": "all", "data": big])
      async let _ = try? connection.rpc(service, ["stream": "stdin", "rank": "all", "eof": true])
      let events = try await InstanceTests.events(connection, id)
      let exception = try #require(events.first { $0.name == "exception" }?.context)
      #expect(exception["note"]?.stringValue?.hasPrefix("stdin exceeds 1K limit") == true)
      #expect(exception["wait_status"] == nil && events.count { $0.name == "exception" } == 1)
      #expect(events.first { $0.name == "finish" }?.context?["status"] == 256)
    }
  }

  @Test func aFileIsARedirect() async throws {
    try await InstanceTests.withInstance { _, connection in
      let options: JSON = ["input": ["stdin": ["type": "file", "path": "/dev/null"]]]
      let (id, service) = try await Self.start(connection, ["sh", "-c", "sleep 1"], options)
      await #expect(throws: RPCError.self) {
        try await connection.rpc(service, ["stream": "stdin", "rank": "all", "eof": true])
      }
      #expect(
        try await Self.entries(connection, id) == [
          "header \(Self.header)", #"redirect {"stream":"stdin","rank":"all","path":"/dev/null"}"#,
        ])
    }
  }
}
