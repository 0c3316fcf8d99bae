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
    let reader = try InstanceTests.connect(instance.uri.path, [])
    defer { close(reader) }
    for tag in 1...readers { try watch(id, tag, reader) }
    // Nobody reads yet; others are served.
    try await Task.sleep(for: .milliseconds(300))
    let size = try await connection.rpc("attr.get", ["name": "size"])
    #expect(size["value"] == "2")
    let lengths = try lengths(reader, streams: readers)
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
        let reader = try InstanceTests.connect(instance.uri.path, [])
        defer { close(reader) }
        try Self.watch(id, 1, reader)
        _ = try await InstanceTests.events(connection, id)
        // Its documents have left the memory.
        try await Task.sleep(for: .milliseconds(300))
        try Self.watch(id, 2, reader)
        let lengths = try Self.lengths(reader, streams: 2)
        #expect(lengths[1] == lengths[2] && lengths[1, default: 0] > 20_000_000, "\(lengths)")
      }
    }
  }

  /// What happens while the journal's backlog waits for its reader is told once, whether the job's turn has been or is still to come.
  @Test func theJournalsBacklog() async throws {
    try await InstanceTests.withInstance { instance, connection in
      var jobspec = try InstanceTests.jobspec(["true"])
      jobspec.set(attribute: "user.long", to: .string(String(repeating: "x", count: 1 << 20)))
      var ids: [JobID] = []
      for _ in 0..<10 { ids.append(try await InstanceTests.submit(connection, jobspec, urgency: 0)) }
      let reader = try InstanceTests.connect(instance.uri.path, [])
      defer { close(reader) }
      try Self.send("job-manager.events-journal", ["full": true], 1, reader)
      var peeked = [UInt8](repeating: 0, count: 4096)
      // It has begun to be told once more is there than a greeting.
      while recv(reader, &peeked, peeked.count, CInt(MSG_PEEK)) < peeked.count {
        try await Task.sleep(for: .milliseconds(10))
      }
      // This is in no eventlog.
      _ = try await connection.rpc("job-manager.memo", ["id": ids[8].json, "volatile": true, "memo": ["x": 1]])
      for id in [ids[0], ids[9]] {
        _ = try await connection.rpc("job-manager.raise", ["id": id.json, "severity": 0, "type": "cancel"])
        _ = try await InstanceTests.events(connection, id)
      }
      var told: [JobID: [String]] = [:]
      var isBacklogOver = false
      try Self.read(reader) { message in
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

  // MARK: A connection that is read when it is wanted

  private static func watch(_ id: JobID, _ tag: Int, _ descriptor: CInt) throws {
    try send("job-info.eventlog-watch", ["id": id.json, "path": "guest.output", "flags": 0], tag, descriptor)
  }

  private static func send(_ topic: String, _ payload: JSON, _ tag: Int, _ descriptor: CInt) throws {
    let message = Message(
      kind: .request, options: [.streaming], matchTag: UInt32(tag), topic: topic, payload: Message.payload(of: payload))
    var frame = ByteBuffer()
    MessageCodec.encodeFrame(message, into: &frame)
    try #require(frame.withUnsafeReadableBytes { write(descriptor, $0.baseAddress, $0.count) } == frame.readableBytes)
  }

  /// Reads until so many streams have ended. Returns the bytes of each, by its match tag.
  private static func lengths(_ descriptor: CInt, streams: Int) throws -> [UInt32: Int] {
    var lengths: [UInt32: Int] = [:]
    var ended = 0
    try read(descriptor) { message in
      if message.detail == 0 { lengths[message.matchTag, default: 0] += message.payload?.readableBytes ?? 0 }
      if message.detail == Errnum.noData.rawValue { ended += 1 }
      return ended == streams
    }
    return lengths
  }

  /// Reads until `body`, which is given each message, says that it is enough.
  private static func read(_ descriptor: CInt, _ body: (Message) throws -> Bool) throws {
    var decoder = FrameDecoder(expectsGreeting: true)
    var buffer = ByteBuffer()
    while true {
      let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 20) {
        max(Glibc.read(descriptor, $0.baseAddress, $0.count), 0)
      }
      try #require(count > 0, "it was cut off")
      while let inbound = try decoder.decode(buffer: &buffer) {
        if case .message(let message) = inbound, try body(message) { return }
      }
      buffer.discardReadBytes()
    }
  }
}
