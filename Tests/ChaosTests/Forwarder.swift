// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import NIOCore
import NIOPosix

/// A socket before another one, which passes everything on, and can do it badly.
struct Forwarder: Sendable {
  /// What becomes of the bytes of one way.
  enum Manner: Sendable {
    case pass
    /// They wait.
    case stall
    /// They are lost.
    case swallow
    /// A part of what comes next is passed, and then the connection ends.
    case cut(part: Double)
  }

  enum Way: Sendable, CaseIterable {
    case requests
    case answers
  }

  private let switchboard: NIOLoopBound<Switchboard>
  private let loop: any EventLoop

  /// Listens on `path` before `target`, runs `body`, and ends.
  static func withForwarder<Result: Sendable>(
    _ path: String, to target: String, _ body: (Forwarder) async throws -> Result
  ) async throws -> Result {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let box = try await loop.submit { NIOLoopBound(Switchboard(target, loop), eventLoop: loop) }.get()
    let listener = try await ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 256)
      .childChannelOption(.autoRead, value: false)
      .childChannelInitializer { channel in
        box.value.accept(channel)
        return channel.eventLoop.makeSucceededVoidFuture()
      }
      .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
    let forwarder = Forwarder(switchboard: box, loop: loop)
    let outcome: Swift.Result<Result, any Error>
    do { outcome = .success(try await body(forwarder)) } catch { outcome = .failure(error) }
    try? await listener.close()
    try? await forwarder.cut()
    unlink(path)
    return try outcome.get()
  }

  /// From now on the bytes of these ways fare like that; those of new connections as well.
  func set(_ manner: Manner, _ ways: [Way] = Way.allCases) async throws {
    let box = switchboard
    try await loop.submit { box.value.set(manner, ways) }.get()
  }

  /// Whether new connections end at once.
  func refuse(_ isRefusing: Bool) async throws {
    let box = switchboard
    try await loop.submit { box.value.isRefusing = isRefusing }.get()
  }

  /// Every connection is half-open: its far half has ended, and the near one does not learn of it.
  func loseFarHalves() async throws {
    let box = switchboard
    try await loop.submit {
      box.value.set(.swallow, Way.allCases)
      box.value.loseFarHalves()
    }.get()
  }

  /// Ends all connections.
  func cut() async throws {
    let box = switchboard
    try await loop.submit { box.value.cut() }.get()
  }
}
