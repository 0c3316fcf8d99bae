// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire
import Logging
import NIOCore

/// The I/O around a ``ProxyRouter``: the channels of the instance and the clients, all on one event loop.
final class ProxyShell {
  /// A client that has not read so much of what was sent to it is closed: one must not take the memory of all.
  static let clientBacklog = 256 << 20

  /// Fulfilled when the instance has accepted the connection.
  let ready: EventLoopPromise<Void>
  /// Fulfilled when the connection to the instance has ended.
  let lost: EventLoopPromise<Void>
  private var router = ProxyRouter()
  private var upstream: (any Channel)?
  private var clients: [String: any Channel] = [:]
  private let peer: String
  private let logger: Logger

  init(peer: String, on loop: any EventLoop, logger: Logger) {
    self.peer = peer
    self.logger = logger
    ready = loop.makePromise()
    lost = loop.makePromise()
  }

  /// Where no connection came about, nothing else keeps the promises.
  deinit {
    ready.fail(ConnectionError(.closed, "\(peer): no connection"))
    lost.succeed()
  }

  // MARK: The instance

  func upstreamAdded(_ channel: any Channel) { upstream = channel }

  func receiveUpstream(_ inbound: Inbound) {
    switch inbound {
    case .greeting(0): ready.succeed()
    case .greeting(let byte):
      upstreamFailed(ConnectionError.greeting(byte, peer: peer))
    case .message(let message): perform(router.receiveUpstream(message))
    // Whom it was for is in what cannot be read.
    case .unreadable(_, let error):
      logger.warning("dropped a message", metadata: ["peer": "\(peer)", "reason": "\(error)"])
    }
  }

  func upstreamFailed(_ error: any Error) {
    if let wire = error as? WireError {
      ready.fail(ConnectionError(.notFlux, "\(peer): \(wire.message)", cause: wire))
    } else {
      ready.fail(error)
    }
    upstream?.close(promise: nil)
  }

  func upstreamEnded() {
    upstream = nil
    ready.fail(ConnectionError(.closed, "\(peer): the connection ended before the instance had answered"))
    lost.succeed()
    for channel in clients.values { channel.close(promise: nil) }
  }

  /// While the instance does not take more, nobody is asked for more.
  func upstreamWritabilityChanged(_ isWritable: Bool) {
    for channel in clients.values { channel.setOption(.autoRead, value: isWritable).whenFailure { _ in } }
  }

  // MARK: Clients

  /// Takes a client on.
  ///
  /// - Returns: its route id.
  func clientAdded(_ channel: any Channel) -> String {
    let route = Self.makeRoute()
    clients[route] = channel
    router.connect(route)
    if upstream == nil { channel.close(promise: nil) }
    return route
  }

  func receive(_ inbound: Inbound, from route: String) {
    guard case .message(let message) = inbound else { return }
    perform(router.receive(from: route, message))
  }

  func clientEnded(_ route: String) {
    clients[route] = nil
    perform(router.disconnect(route))
  }

  /// Ends everything.
  func close() {
    upstream?.close(promise: nil)
    for channel in clients.values { channel.close(promise: nil) }
  }

  private func perform(_ actions: [ProxyRouter.Action]) {
    for action in actions {
      switch action {
      case .upstream(let message): upstream?.writeAndFlush(message, promise: nil)
      case .client(let route, let message):
        guard let channel = clients[route] else { continue }
        if channel.isWritable {
          channel.writeAndFlush(message, promise: nil)
        } else {
          logger.warning("a client of the proxy reads too slowly", metadata: ["route": "\(route)"])
          channel.close(promise: nil)
        }
      }
    }
  }

  /// A random UUID, as the broker's own router gives to its clients.
  private static func makeRoute() -> String {
    let digits = (0..<2).map { _ in
      let text = String(UInt64.random(in: .min ... .max), radix: 16)
      return String(repeating: "0", count: 16 - text.count) + text
    }.joined()
    var route = ""
    for (index, digit) in digits.enumerated() {
      if [8, 12, 16, 20].contains(index) { route += "-" }
      route.append(digit)
    }
    return route
  }
}
