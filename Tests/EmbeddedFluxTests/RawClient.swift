// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import NIOCore
import Testing

/// A connection that is read when it is wanted, message by message in the order they were sent in. Who has it closes it.
struct RawClient: Sendable {
  let descriptor: CInt
  private var decoder = FrameDecoder(expectsGreeting: true)
  private var buffer = ByteBuffer()

  init(_ path: String) throws { descriptor = try InstanceTests.connect(path, []) }

  func send(_ topic: String, _ payload: JSON, tag: Int) throws {
    let message = Message(
      kind: .request, options: [.streaming], matchTag: UInt32(tag), topic: topic, payload: Message.payload(of: payload))
    var frame = ByteBuffer()
    MessageCodec.encodeFrame(message, into: &frame)
    try #require(frame.withUnsafeReadableBytes { write(descriptor, $0.baseAddress, $0.count) } == frame.readableBytes)
  }

  /// Follows a log of a job.
  func watch(_ id: JobID, _ path: String = "guest.output", tag: Int) throws {
    try send("job-info.eventlog-watch", ["id": id.json, "path": .string(path), "flags": 0], tag: tag)
  }

  /// Waits until so many bytes are there to be read, which stay.
  func waitForBytes(_ count: Int) async throws {
    var bytes = [UInt8](repeating: 0, count: count)
    while recv(descriptor, &bytes, count, CInt(MSG_PEEK)) < count { try await Task.sleep(for: .milliseconds(10)) }
  }

  /// The next message; nil at the connection's end.
  mutating func next() throws -> Message? {
    while true {
      while let inbound = try decoder.decode(buffer: &buffer) {
        if case .message(let message) = inbound { return message }
      }
      buffer.discardReadBytes()
      let count = buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: 1 << 20) {
        max(Glibc.read(descriptor, $0.baseAddress, $0.count), 0)
      }
      if count == 0 { return nil }
    }
  }

  /// Reads until `body`, which is given each message, says that it is enough.
  mutating func read(until body: (Message) throws -> Bool) throws {
    while true { if try body(#require(try next(), "it was cut off")) { return } }
  }

  /// Reads until so many streams have ended. Returns the bytes of each, by its match tag.
  mutating func lengths(streams: Int) throws -> [UInt32: Int] {
    var lengths: [UInt32: Int] = [:]
    var ended = 0
    try read { message in
      if message.detail == 0 { lengths[message.matchTag, default: 0] += message.payload?.readableBytes ?? 0 }
      if message.detail == Errnum.noData.rawValue { ended += 1 }
      return ended == streams
    }
    return lengths
  }
}
