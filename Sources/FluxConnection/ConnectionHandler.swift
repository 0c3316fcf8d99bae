// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Logging
import NIOCore

/// What waits for a response: a single request's continuation or a stream's source.
enum RPCHandle {
  case single(CheckedContinuation<Message, any Error>, timeout: Scheduled<Void>?)
  case stream(RPCStream.Source)
}

/// The I/O shell of ``RPCClient``: turns its actions into resumed continuations, on the connection's event loop.
final class ConnectionHandler: ChannelInboundHandler {
  typealias InboundIn = Inbound
  typealias OutboundOut = Message

  private var rpc = RPCClient<RPCHandle>()
  private var greeting: CheckedContinuation<Void, any Error>?
  private var isReady = false
  private var failure: (any Error)?
  private var context: ChannelHandlerContext?
  private var pausedStreams = 0
  /// The most messages that a peer may send which nobody has asked for.
  private static let maximumIgnored = 1000
  private var ignored = 0
  /// Whether a message was dropped that could not be read: the first is told of loudly.
  private var hasDropped = false
  private var eventSinks: [UInt64: (String, AsyncStream<Message>.Continuation)] = [:]
  private var services: [String: AsyncStream<Message>.Continuation] = [:]
  private var closeWaiters: [CheckedContinuation<Void, Never>] = []
  private let peer: String
  private let logger: Logger

  init(peer: String, logger: Logger) {
    self.peer = peer
    self.logger = logger
  }

  var isActive: Bool { isReady && failure == nil }

  func handlerAdded(context: ChannelHandlerContext) { self.context = context }

  func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

  // MARK: Requests

  /// Resumes when the server's greeting has come.
  func waitForGreeting(_ continuation: CheckedContinuation<Void, any Error>) {
    if let failure { return continuation.resume(throwing: failure) }
    if isReady { return continuation.resume() }
    greeting = continuation
  }

  func send(_ message: Message) {
    guard failure == nil, let context else { return }
    context.writeAndFlush(wrapOutboundOut(message), promise: nil)
  }

  /// Sends a request for one response.
  ///
  /// - Returns: its tag, for ``abandon(_:with:)``; nil when it failed at once.
  func request(
    _ message: Message, timeout: TimeAmount?, _ continuation: CheckedContinuation<Message, any Error>
  ) -> UInt32? {
    guard let context, failure == nil else {
      continuation.resume(throwing: failure ?? closedError())
      return nil
    }
    let loopBound = NIOLoopBound(self, eventLoop: context.eventLoop)
    let tagBox = NIOLoopBoundBox(UInt32(0), eventLoop: context.eventLoop)
    let topic = message.topic ?? ""
    let peer = peer
    let timer = timeout.map { timeout in
      context.eventLoop.scheduleTask(in: timeout) {
        let limit = Duration.nanoseconds(timeout.nanoseconds).inWords
        loopBound.value.abandon(
          tagBox.value, with: ConnectionError(.timedOut, "\(peer): no answer to \(topic) within \(limit)"))
      }
    }
    guard let tag = rpc.begin(streaming: false, .single(continuation, timeout: timer)) else {
      timer?.cancel()
      continuation.resume(throwing: tooManyError())
      return nil
    }
    tagBox.value = tag
    var message = message
    message.matchTag = tag
    send(message)
    return tag
  }

  /// Opens a stream; its responses go to `source`.
  func stream(_ message: Message, _ source: RPCStream.Source) -> UInt32? {
    guard failure == nil, context != nil else {
      source.finish(failure ?? closedError())
      return nil
    }
    guard let tag = rpc.begin(streaming: true, .stream(source)) else {
      source.finish(tooManyError())
      return nil
    }
    var message = message
    message.matchTag = tag
    message.options.insert(.streaming)
    send(message)
    return tag
  }

  /// Nobody waits for request `tag` any more.
  func abandon(_ tag: UInt32, with error: any Error) {
    switch rpc.abandon(tag) {
    case .single(let continuation, let timeout):
      timeout?.cancel()
      continuation.resume(throwing: error)
    case .stream(let source): source.finish(error)
    case nil: break
    }
  }

  /// The consumer of stream `tag` has gone: tells the server, where there is a way to.
  func cancelStream(_ tag: UInt32, cancelTopic: String?) {
    guard rpc.abandon(tag) != nil, let cancelTopic else { return }
    send(.request(cancelTopic, ["matchtag": .int(Int64(tag))], options: .noResponse))
  }

  // MARK: Back-pressure of streams that asked for it

  func pauseReading() {
    pausedStreams += 1
    if pausedStreams == 1 { context?.channel.setOption(.autoRead, value: false).whenComplete { _ in } }
  }

  func resumeReading() {
    guard pausedStreams > 0 else { return }
    pausedStreams -= 1
    if pausedStreams == 0 { context?.channel.setOption(.autoRead, value: true).whenComplete { _ in } }
  }

  // MARK: Events

  func addEventSink(_ id: UInt64, prefix: String, _ sink: AsyncStream<Message>.Continuation) {
    if failure != nil { return sink.finish() }
    eventSinks[id] = (prefix, sink)
  }

  func removeEventSink(_ id: UInt64) { eventSinks[id] = nil }

  // MARK: Services

  func addService(_ name: String, _ sink: AsyncStream<Message>.Continuation) {
    if failure != nil { return sink.finish() }
    services.updateValue(sink, forKey: name)?.finish()
  }

  func removeService(_ name: String) { services.removeValue(forKey: name)?.finish() }

  // MARK: Channel

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    switch unwrapInboundIn(data) {
    case .greeting(let byte): receiveGreeting(byte, context)
    case .message(let message): receive(message)
    case .unreadable(let outline, let error): receive(unreadable: outline, error)
    }
  }

  /// One that has sent a message which nobody can take is not the instance: somebody else's request or event is dropped, and an answer is an error.
  private func receive(unreadable outline: Message, _ error: WireError) {
    logger.log(
      level: hasDropped ? .debug : .warning, "dropped a message",
      metadata: ["peer": "\(peer)", "reason": "\(error)"])
    hasDropped = true
    guard outline.kind == .response else { return }
    var response = outline
    response.detail = Errnum.protocolError.rawValue
    response.payload = Message.payload(text: error.message)
    receive(response)
  }

  private func receiveGreeting(_ byte: UInt8, _ context: ChannelHandlerContext) {
    guard byte == 0 else { return fail(ConnectionError.greeting(byte, peer: peer), context) }
    isReady = true
    greeting?.resume()
    greeting = nil
  }

  private func receive(_ message: Message) {
    switch rpc.receive(message) {
    case .resume(.single(let continuation, let timeout), let message):
      timeout?.cancel()
      continuation.resume(returning: message)
    case .resume(.stream(let source), let message), .yield(.stream(let source), let message): source.yield(message)
    case .finish(.stream(let source), let message): source.finish(with: message)
    case .yield(.single, _), .finish(.single, _): logger.error("a single request was taken for a stream")
    case .event(let message):
      let topic = message.topic ?? ""
      for (prefix, sink) in eventSinks.values where topic.hasPrefix(prefix) { sink.yield(message) }
    case .request(let message): serve(message)
    case .ignore(let reason?):
      logger.debug("ignored", metadata: ["peer": "\(peer)", "reason": "\(reason)"])
      ignored += 1
      // Whoever goes on like that would keep this process busy for ever.
      guard ignored <= Self.maximumIgnored else {
        return fail(
          ConnectionError(
            .notFlux,
            "\(peer): does not speak as a Flux instance does: more than \(Self.maximumIgnored) messages that nobody has "
              + "asked for; the last: \(reason)"), context)
      }
    case .ignore(nil): break
    }
  }

  private func serve(_ request: Message) {
    let taken = services[String(request.service ?? "")]?.yield(request)
    if case .enqueued = taken { return }
    var errnum = Errnum.notImplemented
    if case .dropped = taken { errnum = .again }
    guard !request.options.contains(.noResponse) else { return }
    send(.response(to: request, errnum: errnum.rawValue))
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    if let wire = error as? WireError {
      fail(ConnectionError(.notFlux, "\(peer): \(wire.message)", cause: wire), context)
    } else {
      fail(ConnectionError(.closed, "\(peer): the connection failed: \(error)", cause: error), context)
    }
  }

  func channelInactive(context: ChannelHandlerContext) {
    fail(closedError(), context)
    context.fireChannelInactive()
  }

  /// Ends everything with `error`; the first error is the one that everybody is told.
  func fail(_ error: any Error, _ context: ChannelHandlerContext? = nil) {
    guard failure == nil else { return }
    failure = error
    greeting?.resume(throwing: error)
    greeting = nil
    for handle in rpc.close() {
      switch handle {
      case .single(let continuation, let timeout):
        timeout?.cancel()
        continuation.resume(throwing: error)
      case .stream(let source): source.finish(error)
      }
    }
    for (_, sink) in eventSinks.values { sink.finish() }
    eventSinks.removeAll()
    for sink in services.values { sink.finish() }
    services.removeAll()
    for waiter in closeWaiters { waiter.resume() }
    closeWaiters.removeAll()
    (context ?? self.context)?.close(promise: nil)
  }

  func waitForClose(_ continuation: CheckedContinuation<Void, Never>) {
    if failure != nil { continuation.resume() } else { closeWaiters.append(continuation) }
  }

  private func closedError() -> ConnectionError {
    ConnectionError(.closed, isReady ? "\(peer): the connection was closed" : "\(peer): closed before it was open")
  }

  private func tooManyError() -> ConnectionError {
    ConnectionError(.limit, "\(peer): more than \(RPCClient<RPCHandle>.maximumPending) requests are under way")
  }
}
