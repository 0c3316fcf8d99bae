// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire
import NIOCore

/// The proxy's end of the connection to a client.
final class ProxyClientHandler: ChannelInboundHandler {
  typealias InboundIn = Inbound

  private let shell: ProxyShell
  private var route = ""

  init(_ shell: ProxyShell) { self.shell = shell }

  func handlerAdded(context: ChannelHandlerContext) { route = shell.clientAdded(context.channel) }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    shell.receive(unwrapInboundIn(data), from: route)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  func channelInactive(context: ChannelHandlerContext) { shell.clientEnded(route) }
}
