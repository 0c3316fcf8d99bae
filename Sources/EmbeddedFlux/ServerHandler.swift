// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import FluxWire
import Glibc
import NIOCore
import NIOPosix

/// A client's connection: checks who it is, greets it, and passes messages both ways.
final class ServerHandler: ChannelInboundHandler {
  typealias InboundIn = Inbound
  typealias OutboundOut = Message

  /// The longest message that a client may send: 64 MiB.
  static let maximumLength = FrameDecoder.defaultMaximumLength
  /// How much may wait for a client that does not read. One that lets more pile up is cut off, so that it costs nobody else.
  static let maximumBacklog = 256 << 20

  private let core: InstanceCore
  private var client: String?
  /// Whether it was cut off: nothing is sent to it then, for it may be told of that itself.
  private var isCutOff = false

  private init(_ core: InstanceCore) { self.core = core }

  static func install(on channel: any Channel, _ core: NIOLoopBound<InstanceCore>) throws {
    try channel.pipeline.syncOperations.addHandlers([
      ByteToMessageHandler(FrameDecoder(expectsGreeting: false, maximumLength: maximumLength)),
      MessageToByteHandler(FrameEncoder()), ServerHandler(core.value),
    ])
  }

  func channelActive(context: ChannelHandlerContext) { greet(context) }

  func handlerAdded(context: ChannelHandlerContext) { if context.channel.isActive { greet(context) } }

  private func greet(_ context: ChannelHandlerContext) {
    guard client == nil else { return }
    let user = Self.peer(of: context.channel)
    let box = NIOLoopBound(self, eventLoop: context.eventLoop)
    let loopContext = NIOLoopBound(context, eventLoop: context.eventLoop)
    guard user == core.broker.owner,
      let id = core.broker.addClient(userID: user, { message in box.value.send(message, loopContext.value) })
    else {
      return write(byte: UInt8(EPERM), context, thenClose: true)
    }
    client = id
    core.added(context.channel, as: id)
    write(byte: 0, context, thenClose: false)
  }

  /// The user at the other end, by the kernel's word; the owner's own for a socket pair of this process.
  private static func peer(of channel: any Channel) -> UInt32 {
    guard let provider = channel as? any SocketOptionProvider else { return UInt32.max }
    let option: EventLoopFuture<cspawn_credentials> = provider.unsafeGetSocketOption(
      level: .init(rawValue: SOL_SOCKET), name: .init(rawValue: SO_PEERCRED))
    var user = UInt32.max
    // On the channel's own loop the answer is there at once.
    let box = NIOLoopBoundBox(user, eventLoop: channel.eventLoop)
    option.assumeIsolated().whenSuccess { box.value = $0.uid }
    user = box.value
    return user
  }

  private func write(byte: UInt8, _ context: ChannelHandlerContext, thenClose: Bool) {
    // Past the encoder, which knows only messages.
    let target = context.channel.pipeline
    guard let encoder = try? target.syncOperations.context(handlerType: MessageToByteHandler<FrameEncoder>.self) else {
      return
    }
    let done = context.eventLoop.makePromise(of: Void.self)
    encoder.writeAndFlush(NIOAny(ByteBuffer(bytes: [byte])), promise: done)
    if thenClose { done.futureResult.assumeIsolated().whenComplete { _ in context.close(promise: nil) } }
  }

  private func send(_ message: Message, _ context: ChannelHandlerContext) {
    guard let client, !isCutOff else { return }
    let size = (message.payload?.readableBytes ?? 0) + 64
    guard core.broker.outflow.queued(size, for: client) <= Self.maximumBacklog else {
      isCutOff = true
      core.log.append(level: 4, "broker", "a client that does not read was cut off")
      return context.close(promise: nil)
    }
    let sent = context.eventLoop.makePromise(of: Void.self)
    sent.futureResult.assumeIsolated().whenComplete { [core] _ in core.broker.outflow.sent(size, to: client) }
    context.writeAndFlush(wrapOutboundOut(message), promise: sent)
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .message(let message) = unwrapInboundIn(data), let client else { return }
    core.broker.receive(message, from: client)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    // A client that just goes away is nothing to report.
    if error is WireError { core.log.append(level: 4, "broker", "a client's connection is closed: \(error)") }
    context.close(promise: nil)
  }

  func channelInactive(context: ChannelHandlerContext) {
    if let client { core.removed(client) }
    client = nil
  }
}
