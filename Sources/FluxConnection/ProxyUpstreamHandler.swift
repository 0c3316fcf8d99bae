// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire
import NIOCore

/// The proxy's end of the connection to the instance.
final class ProxyUpstreamHandler: ChannelInboundHandler {
  typealias InboundIn = Inbound

  private let shell: ProxyShell

  init(_ shell: ProxyShell) { self.shell = shell }

  func handlerAdded(context: ChannelHandlerContext) { shell.upstreamAdded(context.channel) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) { shell.receiveUpstream(unwrapInboundIn(data)) }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    shell.upstreamWritabilityChanged(context.channel.isWritable)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { shell.upstreamFailed(error) }

  func channelInactive(context: ChannelHandlerContext) { shell.upstreamEnded() }
}
