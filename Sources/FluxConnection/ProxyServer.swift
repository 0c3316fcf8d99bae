// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob
public import Logging
import FluxWire
import NIOCore
import NIOPosix

#if canImport(Glibc)
  import Glibc
#endif

/// A local socket behind which any number of this user's processes share one connection to an instance.
public struct ProxyServer: Sendable {
  /// The socket's path.
  public let path: String
  private let shell: NIOLoopBound<ProxyShell>
  private let loop: any EventLoop

  /// What the kernel says about a socket's other end.
  private struct PeerCredentials: Sendable {
    var processID: Int32 = 0
    var userID: UInt32 = .max
    var groupID: UInt32 = .max
  }

  /// Connects to `uri`, listens on `path`, runs `body`, and ends both.
  ///
  /// - Parameter path: where the socket is made; its directory should be this user's alone.
  /// - Throws: ``ConnectionError`` when there is no connection, or what `body` throws.
  public static func withServer<Result: Sendable>(
    to uri: FluxURI, listeningOn path: String,
    configuration: FluxConnection.Configuration = FluxConnection.Configuration(), logger: Logger,
    _ body: @escaping @Sendable (ProxyServer) async throws -> Result
  ) async throws -> Result {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let (shell, ready) = try await loop.submit {
      let shell = ProxyShell(peer: uri.description, on: loop, logger: logger)
      return (NIOLoopBound(shell, eventLoop: loop), shell.ready.futureResult)
    }.get()
    let server = ProxyServer(path: path, shell: shell, loop: loop)
    let upstream = ProxyUpstream(uri: uri, configuration: configuration, loop: loop)
    return try await upstream.withChannel { channel in
      channel.eventLoop.makeCompletedFuture { try server.install(on: channel, configuration) }
    } body: {
      do {
        try await upstream.wait(for: ready)
        let listener = try await server.listen(configuration)
        let result = try await body(server)
        try? await listener.close()
        await server.close()
        return result
      } catch {
        await server.close()
        throw error
      }
    }
  }

  /// Returns when the connection to the instance has ended, or the task is cancelled.
  public func waitForLoss() async {
    let shell = shell
    let (stream, continuation) = AsyncStream<Void>.makeStream()
    loop.execute { shell.value.lost.futureResult.whenComplete { _ in continuation.finish() } }
    for await _ in stream {}
  }

  private func close() async {
    let shell = shell
    try? await loop.submit { shell.value.close() }.get()
  }

  private func install(on channel: any Channel, _ configuration: FluxConnection.Configuration) throws {
    let decoder = FrameDecoder(expectsGreeting: true, maximumLength: configuration.maximumMessageLength)
    try channel.pipeline.syncOperations.addHandlers([
      ByteToMessageHandler(decoder, maximumBufferSize: nil), MessageToByteHandler(FrameEncoder()),
      ProxyUpstreamHandler(shell.value),
    ])
  }

  private func listen(_ configuration: FluxConnection.Configuration) async throws -> any Channel {
    let shell = shell
    let limit = configuration.maximumMessageLength
    return try await ServerBootstrap(group: loop)
      .childChannelOption(
        .writeBufferWaterMark, value: .init(low: ProxyShell.clientBacklog / 2, high: ProxyShell.clientBacklog)
      )
      .childChannelInitializer { channel in
        Self.credentials(of: channel).flatMapThrowing { credentials in
          guard credentials.userID == getuid() else { return try Self.refuse(channel) }
          let pipeline = channel.pipeline.syncOperations
          // The server's greeting comes before any frame.
          channel.writeAndFlush(ByteBuffer(bytes: [0]), promise: nil)
          try pipeline.addHandlers([
            ByteToMessageHandler(
              FrameDecoder(expectsGreeting: false, maximumLength: limit), maximumBufferSize: nil),
            MessageToByteHandler(FrameEncoder()), ProxyClientHandler(shell.value),
          ])
        }
      }
      .bind(unixDomainSocketPath: path).get()
  }

  private static func credentials(of channel: any Channel) -> EventLoopFuture<PeerCredentials> {
    guard let provider = channel as? any SocketOptionProvider else {
      return channel.eventLoop.makeSucceededFuture(PeerCredentials())
    }
    return provider.unsafeGetSocketOption(level: .socket, name: .init(rawValue: SO_PEERCRED))
  }

  private static func refuse(_ channel: any Channel) throws {
    channel.writeAndFlush(ByteBuffer(bytes: [UInt8(EPERM)]), promise: nil)
    channel.close(promise: nil)
  }
}
