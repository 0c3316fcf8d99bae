// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob
public import FluxWire
import Logging
import NIOCore
import NIOPosix

/// A live connection to a Flux instance.
///
/// One connection carries any number of requests and streams at once; match tags tell them apart. The actor runs on the
/// connection's event loop. Get one with ``withConnection(to:configuration:logger:_:)``, which also ends it.
public actor FluxConnection {
  /// The limits and ways of a connection.
  public struct Configuration: Sendable {
    /// How long a Unix socket may take from connect to its greeting. Default 10 s.
    public var localTimeout: Duration = .seconds(10)
    /// How long ssh may take from start to the far side's greeting. Default 30 s.
    public var sshTimeout: Duration = .seconds(30)
    /// How long a request waits for its response unless it says otherwise. Default 60 s.
    public var requestTimeout: Duration = .seconds(60)
    /// The longest message in bytes. Default 64 MiB.
    public var maximumMessageLength = FrameDecoder.defaultMaximumLength
    /// How often a connection is tried again that finds no socket, after 16, 32, 64, 128 and 256 ms as libflux does. Default 5.
    public var localRetries = 5
    /// Whether ssh may ask for passwords on the terminal. Default true; an agent has nobody to ask.
    public var isInteractive = true
    /// Whether ssh stays in this process's group, so that a signal to the group ends it as well: for a process that has no terminal, and that may
    /// be killed. Default false: an ssh that is not interactive has a session of its own.
    public var keepsProcessGroup = false
    /// The environment that ssh is looked up in and started with. Keys: `FLUX_SSH`, `FLUX_SSH_RCMD`. Default: this process's.
    public var environment: [String: String]?
    /// The defaults.
    public init() {}
  }

  /// What it is connected to, for messages.
  public nonisolated let peer: String
  /// Runs the actor on the connection's event loop.
  public nonisolated let unownedExecutor: UnownedSerialExecutor
  private nonisolated let channel: any Channel
  private nonisolated let handlerBox: NIOLoopBound<ConnectionHandler>
  private let requestTimeout: Duration
  private var nextSink: UInt64 = 0
  private var handler: ConnectionHandler { handlerBox.value }

  private init(channel: any Channel, handler: NIOLoopBound<ConnectionHandler>, peer: String, timeout: Duration) {
    self.channel = channel
    self.peer = peer
    handlerBox = handler
    requestTimeout = timeout
    unownedExecutor = channel.eventLoop.executor.asUnownedSerialExecutor()
  }

  /// Puts a connection on a connected channel's pipeline; call on its event loop.
  static func install(
    on channel: any Channel, peer: String, configuration: Configuration, logger: Logger
  ) throws -> FluxConnection {
    let handler = ConnectionHandler(peer: peer, logger: logger)
    let decoder = FrameDecoder(expectsGreeting: true, maximumLength: configuration.maximumMessageLength)
    try channel.pipeline.syncOperations.addHandlers([
      ByteToMessageHandler(decoder, maximumBufferSize: nil), MessageToByteHandler(FrameEncoder()), handler,
    ])
    return FluxConnection(
      channel: channel, handler: NIOLoopBound(handler, eventLoop: channel.eventLoop), peer: peer,
      timeout: configuration.requestTimeout)
  }

  /// Waits for the server's greeting.
  func waitUntilReady(within limit: Duration) async throws {
    let box = handlerBox
    let peer = peer
    let timer = channel.eventLoop.scheduleTask(in: TimeAmount(limit)) {
      box.value.fail(
        ConnectionError(
          .silent, "\(peer): accepted the connection and then said nothing for \(limit.inWords)"))
    }
    defer { timer.cancel() }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { handler.waitForGreeting($0) }
    } onCancel: {
      channel.eventLoop.execute { box.value.fail(CancellationError()) }
    }
  }

  /// Ends the connection; whoever waits for a response gets ``ConnectionError`` `closed`.
  public func close() { handler.fail(ConnectionError(.closed, "\(peer): the connection was closed by this side")) }

  /// Ends the connection from anywhere, also from a cancellation handler; the same as ``close()``.
  public nonisolated func cancel() {
    let box = handlerBox
    let error = ConnectionError(.closed, "\(peer): the connection was closed by this side")
    channel.eventLoop.execute { box.value.fail(error) }
  }

  /// Ends the connection with the reason that everybody who waits is told.
  func fail(_ error: any Error) { handler.fail(error) }

  /// Returns when the connection has ended.
  public func waitForClose() async {
    await withCheckedContinuation { handler.waitForClose($0) }
  }

  /// Whether it is open.
  public var isActive: Bool { handler.isActive }

  // MARK: Services of this side

  func addService(_ name: String, _ sink: AsyncStream<Message>.Continuation) { handler.addService(name, sink) }

  func removeService(_ name: String) { handler.removeService(name) }

  /// Sends a message as it is.
  func post(_ message: Message) { handler.send(message) }

  // MARK: RPC

  /// Asks `topic` and returns the JSON object of its response; an empty object when the response has none.
  ///
  /// - Parameters:
  ///   - timeout: how long to wait; nil is the configuration's `requestTimeout`, `.zero` waits for ever.
  ///   - maximumLength: the most bytes of an answer that is read: a longer one is dropped when it comes, with ``ConnectionError`` `limit`.
  /// - Throws: ``FluxWire/RPCError`` when the service answers with an error, ``ConnectionError``, or CancellationError.
  @discardableResult
  public func rpc(
    _ topic: String, _ payload: JSON? = nil, node: UInt32 = Message.anyNode, timeout: Duration? = nil,
    maximumLength: Int = .max
  ) async throws -> JSON {
    let response = try await respond(topic, payload, node: node, timeout: timeout)
    let length = response.payload?.readableBytes ?? 0
    guard length <= maximumLength else {
      throw ConnectionError(
        .limit, "\(peer): the answer to \(topic) has \(length) bytes; at most \(maximumLength) of it are read")
    }
    do { return try response.json() ?? [:] } catch {
      throw ConnectionError(.notFlux, "\(peer): \(error.message)", cause: error)
    }
  }

  /// Asks `topic` and returns the success response as it came.
  public func respond(
    _ topic: String, _ payload: JSON? = nil, node: UInt32 = Message.anyNode, timeout: Duration? = nil
  ) async throws -> Message {
    let request = Message.request(topic, payload, node: node)
    let limit = timeout ?? requestTimeout
    let box = handlerBox
    let loop = channel.eventLoop
    let tag = NIOLoopBoundBox<UInt32?>(nil, eventLoop: loop)
    try Task.checkCancellation()
    let response = try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        tag.value = handler.request(request, timeout: limit == .zero ? nil : TimeAmount(limit), continuation)
      }
    } onCancel: {
      loop.execute { if let tag = tag.value { box.value.abandon(tag, with: CancellationError()) } }
    }
    if let error = RPCError(response) { throw error }
    return response
  }

  /// Opens a streaming RPC.
  ///
  /// - Parameters:
  ///   - cancelTopic: what to send when the consumer stops early, such as `job-info.eventlog-watch-cancel`.
  ///   - buffering: what happens when the consumer is slow.
  public func stream(
    _ topic: String, _ payload: JSON? = nil, node: UInt32 = Message.anyNode, cancelTopic: String? = nil,
    buffering: RPCStream.Buffering = .bounded(1 << 20)
  ) -> RPCStream {
    let waiting = Waiting(limit: buffering.limit)
    let (base, continuation) = AsyncThrowingStream<Message, any Error>.makeStream()
    let box = handlerBox
    let loop = channel.eventLoop
    let source = RPCStream.Source(continuation, buffering: buffering, waiting: waiting, handler: handler)
    let tag = handler.stream(.request(topic, payload, node: node), source)
    continuation.onTermination = { reason in
      loop.execute {
        if waiting.drop() { box.value.resumeReading() }
        // Ended by the service, else by the consumer or by the limit.
        if case .finished(nil) = reason { return }
        if let tag { box.value.cancelStream(tag, cancelTopic: cancelTopic) }
      }
    }
    return RPCStream(base: base) {
      if waiting.take($0.payload?.readableBytes ?? 0) { loop.execute { box.value.resumeReading() } }
    }
  }

  /// Sends a request that wants no response.
  public func notify(_ topic: String, _ payload: JSON? = nil, node: UInt32 = Message.anyNode) {
    handler.send(.request(topic, payload, node: node, options: .noResponse))
  }

  /// Adds a line to the instance's log (`flux dmesg`): an RFC 5424 message.
  public func log(line: String) {
    handler.send(
      Message(
        kind: .request, options: .noResponse, detail: Message.anyNode, routes: [], topic: "log.append",
        payload: ByteBuffer(string: line)))
  }

  /// The events whose topic begins with `prefix`, from now on; at most the newest 4096 wait for their consumer. When it
  /// goes away the instance is told to send no more.
  public func events(prefix: String) async throws -> AsyncStream<Message> {
    let (stream, continuation) = AsyncStream<Message>.makeStream(bufferingPolicy: .bufferingNewest(4096))
    let id = nextSink
    nextSink += 1
    handler.addEventSink(id, prefix: prefix, continuation)
    let box = handlerBox
    let loop = channel.eventLoop
    continuation.onTermination = { _ in loop.execute { box.value.removeEventSink(id) } }
    try await rpc("event.subscribe", ["topic": .string(prefix)])
    continuation.onTermination = { _ in
      loop.execute {
        box.value.removeEventSink(id)
        box.value.send(.request("event.unsubscribe", ["topic": .string(prefix)], options: .noResponse))
      }
    }
    return stream
  }
}
