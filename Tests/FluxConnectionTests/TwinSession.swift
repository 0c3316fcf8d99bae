// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import NIOCore

/// The twin's end of a connection, in the hands of a test's script.
final class TwinSession {
  private var inbound: NIOAsyncChannelInboundStream<Inbound>.AsyncIterator
  private let channel: any Channel

  init(_ inbound: NIOAsyncChannelInboundStream<Inbound>, _ channel: any Channel) {
    self.inbound = inbound.makeAsyncIterator()
    self.channel = channel
  }

  /// The client's next message.
  func next() async throws -> Message {
    while let item = try await inbound.next() {
      if case .message(let message) = item { return message }
    }
    throw TwinError.ended
  }

  /// Everything that the client still sends until it ends the connection.
  @discardableResult
  func untilEnd() async -> [Message] {
    var messages: [Message] = []
    do { while true { messages.append(try await next()) } } catch {}
    return messages
  }

  /// Sends messages in one write, and returns when the kernel has them.
  func send(_ messages: Message...) async throws { try await send(messages) }

  /// Sends messages in one write, and returns when the kernel has them.
  func send(_ messages: [Message]) async throws {
    var buffer = ByteBuffer()
    for message in messages { MessageCodec.encodeFrame(message, into: &buffer) }
    try await channel.writeAndFlush(buffer)
  }

  /// Sends bytes as they are.
  func send(bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

  /// Answers with a JSON payload, or none.
  func answer(_ request: Message, _ payload: JSON? = nil) async throws {
    try await send(.response(to: request, payload: payload.map(Message.payload(of:))))
  }

  /// Answers with an error.
  func refuse(_ request: Message, _ errnum: Errnum, _ text: String? = nil) async throws {
    try await send(.response(to: request, errnum: errnum.rawValue, payload: text.map { ByteBuffer(string: $0 + "\0") }))
  }
}
