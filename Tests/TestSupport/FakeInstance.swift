// SPDX-License-Identifier: LGPL-3.0-only

package import FluxJob
package import FluxWire
import Foundation
import NIOCore
import NIOPosix

/// An instance in this process that says what a test has it say: it listens on a Unix socket, and a script answers each request, in a task of
/// its own. It may lie, be slow, or go on without end.
package struct FakeInstance: Sendable {
  /// Answers a request.
  package typealias Script = @Sendable (Message, Peer) async throws -> Void

  /// The client that has asked.
  package struct Peer: Sendable {
    let channel: any Channel

    /// Sends messages, and returns when the kernel has them.
    package func send(_ messages: Message...) async throws {
      var buffer = ByteBuffer()
      for message in messages { MessageCodec.encodeFrame(message, into: &buffer) }
      try await channel.writeAndFlush(buffer)
    }

    /// Answers with a JSON payload.
    package func answer(_ request: Message, _ payload: JSON) async throws {
      try await send(.response(to: request, payload: Message.payload(of: payload)))
    }

    /// Answers with an error, or ends a stream.
    package func refuse(_ request: Message, _ errnum: Errnum, _ text: String? = nil) async throws {
      try await send(.response(to: request, errnum: errnum.rawValue, payload: text.map(Message.payload(text:))))
    }
  }

  private typealias Connection = NIOAsyncChannel<Inbound, ByteBuffer>

  /// Runs `body` while the instance is there. Requests that want no response are for the script as well.
  package static func with<Result: Sendable>(
    script: @escaping Script, body: @escaping @Sendable (FluxURI) async throws -> Result
  ) async throws -> Result {
    let path = NSTemporaryDirectory() + "fd-fake-\(UUID().uuidString.prefix(8))"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(unixDomainSocketPath: path) { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(
            ByteToMessageHandler(FrameDecoder(expectsGreeting: false), maximumBufferSize: nil))
          return try Connection(wrappingChannelSynchronously: channel)
        }
      }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await serve(listener, script) }
      defer { group.cancelAll() }
      return try await body(FluxURI(local: path))
    }
  }

  private static func serve(_ listener: NIOAsyncChannel<Connection, Never>, _ script: @escaping Script) async throws {
    try await listener.executeThenClose { connections in
      try await withThrowingDiscardingTaskGroup { group in
        for try await connection in connections { group.addTask { await serve(connection, script) } }
      }
    }
  }

  /// What goes wrong here is that the client has gone: what it should have got first, its side of the test says.
  private static func serve(_ connection: Connection, _ script: @escaping Script) async {
    try? await connection.executeThenClose { inbound, _ in
      let peer = Peer(channel: connection.channel)
      try await connection.channel.writeAndFlush(ByteBuffer(bytes: [0]))
      await withDiscardingTaskGroup { group in
        do {
          for try await case .message(let request) in inbound { group.addTask { try? await script(request, peer) } }
        } catch {}
        group.cancelAll()
      }
    }
  }
}
