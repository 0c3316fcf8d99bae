// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob
public import Logging
import NIOCore
import NIOPosix

#if canImport(Glibc)
  import Glibc
#endif

extension FluxConnection {
  /// Connects to `uri`, runs `body`, and ends the connection.
  ///
  /// `local://PATH` is a Unix socket; `ssh://[USER@]HOST[:PORT]/PATH` runs the user's own `ssh` and Flux's relay on the far side.
  ///
  /// - Throws: ``ConnectionError`` when there is no connection, or what `body` throws.
  public static func withConnection<Result: Sendable>(
    to uri: FluxURI, configuration: Configuration = Configuration(), logger: Logger,
    _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    switch uri.scheme {
    case .local:
      let connection = try await connect(path: uri.path, peer: uri.description, configuration, logger)
      return try await run(connection, within: configuration.localTimeout, body)
    case .ssh: return try await withSSH(to: uri, configuration: configuration, logger: logger, body)
    }
  }

  /// Runs `body` on a connection once it is open, and closes it whatever happens.
  static func run<Result: Sendable>(
    _ connection: FluxConnection, within limit: Duration, _ body: @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    do {
      try await connection.waitUntilReady(within: limit)
      let result = try await body(connection)
      await connection.close()
      return result
    } catch {
      await connection.close()
      throw error
    }
  }

  /// Connects to a socket, trying again for half a second as libflux does: an instance that starts may not listen yet.
  private static func connect(
    path: String, peer: String, _ configuration: Configuration, _ logger: Logger
  ) async throws -> FluxConnection {
    var delay = Duration.milliseconds(16)
    for attempt in 0... {
      do {
        return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
          .connectTimeout(TimeAmount(configuration.localTimeout))
          .connect(unixDomainSocketPath: path) { channel in
            channel.eventLoop.makeCompletedFuture {
              try install(on: channel, peer: peer, configuration: configuration, logger: logger)
            }
          }
      } catch {
        let failure = describe(error, peer: peer)
        guard failure.code == .noSocket, attempt < configuration.localRetries else { throw failure }
      }
      try await Task.sleep(for: delay)
      delay *= 2
    }
    throw ConnectionError(.noSocket, "\(peer): no connection")
  }

  /// Takes over a socket that is connected already: the in-process twin's, or a pair of which ssh has the other half.
  public static func connect(
    socket: CInt, peer: String, configuration: Configuration = Configuration(), logger: Logger
  ) async throws -> FluxConnection {
    try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .withConnectedSocket(socket) { channel in
        channel.eventLoop.makeCompletedFuture {
          try install(on: channel, peer: peer, configuration: configuration, logger: logger)
        }
      }
  }

  private static func describe(_ error: any Error, peer: String) -> ConnectionError {
    guard let io = error as? IOError else {
      if error is ChannelError {
        return ConnectionError(.silent, "\(peer): the socket does not accept connections: \(error)", cause: error)
      }
      return ConnectionError(.closed, "\(peer): \(error)", cause: error)
    }
    switch io.errnoCode {
    case ENOENT, ENOTDIR:
      return ConnectionError(
        .noSocket, "\(peer): there is no socket at that path: No such file or directory; is the instance running?",
        cause: error)
    case ECONNREFUSED, ENOTSOCK, EPROTOTYPE:
      return ConnectionError(
        .noSocket, "\(peer): no instance listens on that path: \(String(cString: strerror(io.errnoCode)))", cause: error
      )
    case EAGAIN:
      return ConnectionError(
        .silent, "\(peer): the instance listens and does not accept: too many connections wait already", cause: error)
    case EACCES, EPERM:
      return ConnectionError(
        .refused, "\(peer): this user may not connect: \(String(cString: strerror(io.errnoCode)))", cause: error)
    default:
      return ConnectionError(.closed, "\(peer): \(String(cString: strerror(io.errnoCode)))", cause: error)
    }
  }
}
