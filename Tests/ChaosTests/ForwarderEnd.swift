// SPDX-License-Identifier: LGPL-3.0-only

import NIOCore

/// One end of a forwarded connection: what comes in here goes out at the other end.
final class ForwarderEnd: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer

  private let switchboard: Switchboard
  let way: Forwarder.Way
  private let other: any Channel
  private var context: ChannelHandlerContext?
  private var isReading = false
  private var hasLostBytes = false

  init(_ switchboard: Switchboard, _ way: Forwarder.Way, to other: any Channel) {
    self.switchboard = switchboard
    self.way = way
    self.other = other
  }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  func channelActive(context: ChannelHandlerContext) {
    context.fireChannelActive()
    update()
  }

  /// The manner has changed.
  func update() {
    guard let context else { return }
    switch switchboard.manner(way) {
    case .stall: return
    case .swallow: break
    case .pass, .cut:
      // A connection that has lost bytes must not live on.
      if hasLostBytes { return close() }
    }
    // What is asked of a channel before it is active is forgotten.
    guard !isReading, context.channel.isActive else { return }
    isReading = true
    context.read()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    switch switchboard.manner(way) {
    case .swallow: hasLostBytes = true
    case .cut(let part):
      let count = Int(Double(bytes.readableBytes) * part)
      if let first = bytes.readSlice(length: count) { other.writeAndFlush(first, promise: nil) }
      // What was written goes out before the end.
      other.close(promise: nil)
      context.close(promise: nil)
    case .pass, .stall: other.write(bytes, promise: nil)
    }
  }

  /// The next bytes are read when these are gone: a side that does not take them makes the other one wait.
  func channelReadComplete(context: ChannelHandlerContext) {
    isReading = false
    let box = NIOLoopBound(self, eventLoop: context.eventLoop)
    let written = context.eventLoop.makePromise(of: Void.self)
    written.futureResult.whenComplete { _ in box.value.update() }
    other.writeAndFlush(ByteBuffer(), promise: written)
  }

  func channelInactive(context: ChannelHandlerContext) {
    switchboard.forget(self)
    // A half-open connection does not learn of its other half's end.
    if case .swallow = switchboard.manner(way) {} else { other.close(promise: nil) }
    context.fireChannelInactive()
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func close() { context?.close(promise: nil) }
}
