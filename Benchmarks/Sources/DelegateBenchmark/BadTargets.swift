// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire
import Glibc
import NIOCore
import NIOPosix

/// Targets that are not what they should be, each a socket in a directory.
struct BadTargets {
  /// What one does.
  enum Kind: String, CaseIterable, Sendable {
    /// It accepts connections and never says anything.
    case hangs
    /// Nobody listens.
    case dead
    /// It greets as a Flux does, and goes on with bytes that mean nothing.
    case garbage
    /// It greets, and answers a byte at a time, five in a second.
    case dribbles
    /// It greets, and answers without an end what nobody has asked.
    case endless
  }

  let directory: String

  func uri(_ kind: Kind) -> String { "local://\(directory)/\(kind.rawValue)" }

  /// Sockets by other names that lead to one target.
  func links(to socket: String, count: Int) throws -> [String] {
    for number in 0..<count {
      guard symlink(socket, "\(directory)/t\(number)") == 0 else { throw Failure("symlink: \(errno)") }
    }
    return (0..<count).map { "local://\(directory)/t\($0)" }
  }

  struct Failure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
  }

  /// Runs `body` while they are there.
  static func with<Result>(_ body: (BadTargets) async throws -> Result) async throws -> Result {
    var template = Array("/tmp/fd-bad-XXXXXX".utf8CString)
    guard let made = mkdtemp(&template) else { throw Failure("mkdtemp: \(errno)") }
    let bad = BadTargets(directory: String(cString: made))
    var servers: [any Channel] = []
    let outcome: Swift.Result<Result, any Error>
    do {
      for kind in Kind.allCases { servers.append(try await listen(bad.uri(kind), kind)) }
      outcome = .success(try await body(bad))
    } catch { outcome = .failure(error) }
    for server in servers { try? await server.close() }
    bad.remove()
    return try outcome.get()
  }

  private static func listen(_ uri: String, _ kind: Kind) async throws -> any Channel {
    let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Liar(kind)) }
      }
      .bind(unixDomainSocketPath: String(uri.dropFirst("local://".count))).get()
    // Its path stays: there is a socket, and nobody behind it.
    if kind == .dead { try await server.close() }
    return server
  }

  private func remove() {
    for kind in Kind.allCases { unlink("\(directory)/\(kind.rawValue)") }
    for number in 0..<256 { unlink("\(directory)/t\(number)") }
    rmdir(directory)
  }
}

/// What one of them says.
private final class Liar: ChannelInboundHandler {
  typealias InboundIn = ByteBuffer
  typealias OutboundOut = ByteBuffer

  private let kind: BadTargets.Kind
  private var timer: RepeatedTask?
  /// Answers to a request that was never made.
  private static let answers: ByteBuffer = {
    var buffer = ByteBuffer()
    let request = Message.request("job-info.lookup", nil, node: 0, matchTag: 987_654)
    let answer = Message.response(to: request, payload: ByteBuffer(string: "{\"id\":1}\0"))
    for _ in 0..<64 { MessageCodec.encodeFrame(answer, into: &buffer) }
    return buffer
  }()

  init(_ kind: BadTargets.Kind) { self.kind = kind }

  func channelActive(context: ChannelHandlerContext) {
    guard kind != .hangs else { return }
    write(ByteBuffer(bytes: [0]), context)
    switch kind {
    case .garbage: write(ByteBuffer(bytes: (0..<65536).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ 13) }), context)
    case .dribbles:
      let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
      let box = NIOLoopBound(self, eventLoop: context.eventLoop)
      let rest = NIOLoopBoundBox(Self.answers, eventLoop: context.eventLoop)
      timer = context.eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: .milliseconds(200)) { _ in
        if let byte = rest.value.readSlice(length: 1) { box.value.write(byte, bound.value) }
      }
    case .endless: goOn(context)
    case .hangs, .dead: break
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) { if kind == .endless { goOn(context) } }

  func channelInactive(context: ChannelHandlerContext) { timer?.cancel() }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {}

  func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

  private func goOn(_ context: ChannelHandlerContext) {
    while context.channel.isWritable, context.channel.isActive { write(Self.answers, context) }
  }

  private func write(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
    context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
  }
}
