// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import NIOCore
import Testing

/// Peers that greet as Flux does and then do not speak it.
@Suite(.timeLimit(.minutes(10))) struct HostilePeerTests {
  private static let magic: [UInt8] = [0x12, 0x00, 0xee, 0xff]

  /// What a request and a stream are told when the peer answers with bytes.
  private func error(
    answering bytes: [UInt8], limit: Int = FrameDecoder.defaultMaximumLength, ends: Bool = false
  ) async throws -> ConnectionError? {
    var configuration = FluxConnection.Configuration()
    configuration.maximumMessageLength = limit
    return try await Twin.withConnection(configuration) { session in
      _ = try await session.next()
      _ = try await session.next()
      try await session.send(bytes: bytes)
      // The client hangs up, else this would wait.
      if !ends { await #expect(session.untilEnd() == []) }
    } client: { connection in
      let task = Task {
        let stream = await connection.stream("a.watch")
        return await #expect(throws: ConnectionError.self) { for try await _ in stream {} }
      }
      let error = await #expect(throws: ConnectionError.self) { try await connection.rpc("a.b", timeout: .zero) }
      await #expect(task.value?.code == error?.code)
      await connection.waitForClose()
      await #expect(!connection.isActive)
      return error
    }
  }

  /// Replies without an end to what nobody has asked: it is hung up on.
  @Test func endlessReplies() async throws {
    var reply = ByteBuffer()
    var request = Message.request("a.b")
    request.matchTag = 4711
    for _ in 0..<1500 { MessageCodec.encodeFrame(.response(to: request), into: &reply) }
    let error = try await error(answering: Array(reply.readableBytesView))
    #expect(
      error?.code == .notFlux && error?.message.contains("nobody has asked for") == true, "\(error?.message ?? "")")
  }

  @Test func aFrameOfLengthZero() async throws {
    let error = try await error(answering: Self.magic + [0, 0, 0, 0])
    #expect(error?.code == .notFlux && error?.message.contains("length 0") == true)
  }

  @Test func aFrameThatIsTooLong() async throws {
    for (limit, length) in [(FrameDecoder.defaultMaximumLength, [4, 0, 0, 1]), (1024, [0, 0, 4, 1])] {
      let error = try await error(answering: Self.magic + length.map(UInt8.init), limit: limit)
      #expect(error?.code == .notFlux && error?.message.contains("limit of \(limit)") == true)
    }
  }

  @Test func somethingElseThanAFrame() async throws {
    let text = try await error(answering: Array("Connection to host closed.\n".utf8))
    #expect(text?.code == .notFlux && text?.message.contains("Connection to host") == true)
    try await #expect(error(answering: [0xff, 0xee, 0x00, 0x12, 0, 0, 0, 21])?.code == .notFlux)
  }

  @Test func aFrameWithoutMessage() async throws {
    let garbage = Self.magic + [0, 0, 0, 30] + [UInt8](repeating: 0xaa, count: 30)
    try await #expect(error(answering: garbage)?.code == .notFlux)
    try await #expect(error(answering: Self.magic + [0, 0, 0, 1, 0])?.code == .notFlux)
  }

  @Test(arguments: [1, 4, 7, 8, 20]) func aFrameThatIsCutShort(length: Int) async throws {
    let frame = Self.magic + [0, 0, 0, 100] + [UInt8](repeating: 0, count: 100)
    try await #expect(error(answering: Array(frame.prefix(length)), ends: true)?.code == .closed)
  }

  /// What others send by way of the instance does not cost the connection: it is dropped, and an answer is an error.
  @Test func aMessageThatCannotBeTaken() async throws {
    try await Twin.withConnection { session in
      let first = try await session.next()
      var hostile = Message.request("svc.x")
      hostile.routes = (0...MessageCodec.maximumRoutes).map { "r\($0)" }
      try await session.send(hostile)
      hostile.kind = .event
      try await session.send(hostile)
      try await session.answer(first)
      var answer = Message.response(to: try await session.next())
      answer.topic = String(repeating: "x", count: MessageCodec.maximumTopicLength + 1)
      try await session.send(answer)
      try await session.answer(session.next())
    } client: { connection in
      try await connection.rpc("a.b")
      let error = await #expect(throws: RPCError.self) { try await connection.rpc("a.b") }
      #expect(error?.errnum == Errnum.protocolError.rawValue)
      try await connection.rpc("a.b")
    }
  }

  @Test func aMessageUpToTheLimit() async throws {
    var configuration = FluxConnection.Configuration()
    configuration.maximumMessageLength = 1024
    try await Twin.withConnection(configuration) { session in
      let request = try await session.next()
      // Delimiter, topic of 3 with its length, payload with its length of 5 bytes, proto with its length.
      let room = 1024 - 1 - 4 - 5 - 21
      let payload = "{" + String(repeating: " ", count: room - 3) + "}\0"
      try await session.send(.response(to: request, payload: .init(string: payload)))
    } client: { connection in
      try await #expect(connection.rpc("a.b") == [:])
    }
  }
}
