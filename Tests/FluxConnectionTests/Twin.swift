// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import FluxConnection

/// An instance's twin in this process: it listens on a Unix socket and does to the one client what a script says.
///
/// The connection lasts as long as the script; `withConnection` and `with` return when both have ended.
struct Twin: Sendable {
  typealias Script = @Sendable (TwinSession) async throws -> Void
  private typealias Listener = NIOAsyncChannel<NIOAsyncChannel<Inbound, ByteBuffer>, Never>

  /// Where it listens.
  let path: String
  /// The same as an address.
  var uri: FluxURI { FluxURI(local: path) }

  /// A logger that keeps quiet.
  static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Runs `script` against a client's connection, and `client` with that connection.
  @discardableResult
  static func withConnection<Result: Sendable>(
    _ configuration: FluxConnection.Configuration = FluxConnection.Configuration(), script: @escaping Script,
    client: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    try await with(script: script) { twin in
      try await FluxConnection.withConnection(to: twin.uri, configuration: configuration, logger: logger, client)
    }
  }

  /// Runs `script` against the first client that connects while `body` runs; `body` has to connect one.
  ///
  /// - Parameter greeting: what the twin sends first.
  @discardableResult
  static func with<Result: Sendable>(
    greeting: [UInt8] = [0], script: @escaping Script, body: @escaping @Sendable (Twin) async throws -> Result
  ) async throws -> Result {
    try await TemporaryDirectory.with { directory in
      let twin = Twin(path: "\(directory.path)/s")
      let listener = try await twin.listen()
      return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await serveOne(listener, greeting, script) }
        do {
          let result = try await body(twin)
          try await group.waitForAll()
          return result
        } catch {
          group.cancelAll()
          throw error
        }
      }
    }
  }

  private func listen() async throws -> Listener {
    try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .bind(unixDomainSocketPath: path) { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(
            ByteToMessageHandler(FrameDecoder(expectsGreeting: false), maximumBufferSize: nil))
          return try NIOAsyncChannel(wrappingChannelSynchronously: channel)
        }
      }
  }

  private static func serveOne(_ listener: Listener, _ greeting: [UInt8], _ script: Script) async throws {
    try await listener.executeThenClose { connections in
      for try await connection in connections {
        try await serve(connection, greeting, script)
        break
      }
    }
  }

  private static func serve(
    _ connection: NIOAsyncChannel<Inbound, ByteBuffer>, _ greeting: [UInt8], _ script: Script
  ) async throws {
    do {
      try await connection.executeThenClose { inbound, _ in
        let session = TwinSession(inbound, connection.channel)
        if !greeting.isEmpty { try await session.send(bytes: greeting) }
        try await script(session)
      }
    } catch is IOError, is ChannelError, is CancellationError {
      // The client has gone: what it should have got first, the client's side of the test says.
    }
  }
}
