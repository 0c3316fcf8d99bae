// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob
import FluxWire
import Glibc
import NIOCore

/// An object that a plugin holds by an opaque pointer.
protocol HostObject: AnyObject {}

extension HostObject {
  /// The object as C sees it; not retained.
  var pointer: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  /// The object behind a pointer that this process gave out.
  static func from(_ pointer: OpaquePointer?) -> Self? {
    pointer.map { Unmanaged<Self>.fromOpaque(UnsafeRawPointer($0)).takeUnretainedValue() }
  }

  func retain() { _ = Unmanaged.passRetained(self) }
  func release() { Unmanaged.passUnretained(self).release() }
}

/// A callback's arguments: `flux_plugin_arg_t`.
final class HostArguments: HostObject {
  private let makeInput: () -> JSONObject
  private(set) lazy var input = makeInput()
  var output: JSONObject

  init(input: @escaping () -> JSONObject, output: JSONObject) {
    makeInput = input
    self.output = output
  }
}

/// A message: `flux_msg_t`.
final class HostMessage: HostObject {
  let message: Message
  /// A disconnect that stands for everybody behind a client.
  let isWholeClient: Bool
  /// The payload and topic as C strings, made when asked for.
  private var texts: [UnsafeMutablePointer<CChar>?] = []

  init(_ message: Message, isWholeClient: Bool) {
    self.message = message
    self.isWholeClient = isWholeClient
  }

  deinit { for text in texts { free(text) } }

  func text(_ string: String?) -> UnsafePointer<CChar>? {
    guard let string else { return nil }
    let copy = strdup(string)
    texts.append(copy)
    return UnsafePointer(copy)
  }

  /// Whether this disconnect is of the sender of `request`.
  func matches(_ request: HostMessage) -> Bool {
    let routes = request.message.routes ?? []
    return isWholeClient ? routes.first == message.routes?.first : routes == message.routes ?? []
  }
}

/// A timer: `flux_watcher_t`.
final class HostTimer: HostObject {
  private unowned let broker: Broker
  private let seconds: Double
  private let callback: flux_watcher_f
  private let data: UnsafeMutableRawPointer?
  private var timer: Scheduled<Void>?

  init(_ broker: Broker, _ seconds: Double, _ callback: @escaping flux_watcher_f, _ data: UnsafeMutableRawPointer?) {
    self.broker = broker
    self.seconds = seconds
    self.callback = callback
    self.data = data
  }

  func start() {
    timer = broker.after(seconds) { [weak self] in
      guard let self else { return }
      callback(nil, pointer, 0, data)
    }
  }

  func stop() { timer?.cancel() }
}

/// A request of the plugin's and its responses: `flux_future_t`.
final class HostFuture: HostObject {
  private weak var handle: HostHandle?
  private let tag: UInt32?
  private var responses: [Message] = []
  private var continuation: (callback: flux_continuation_f, data: UnsafeMutableRawPointer?)?
  private var text: UnsafeMutablePointer<CChar>?

  init(_ handle: HostHandle, tag: UInt32?) {
    self.handle = handle
    self.tag = tag
  }

  deinit { free(text) }

  func then(_ callback: @escaping flux_continuation_f, _ data: UnsafeMutableRawPointer?) {
    continuation = (callback, data)
    wakeIfReady()
  }

  func receive(_ response: Message) {
    responses.append(response)
    if responses.count == 1 { wakeIfReady() }
  }

  /// The plugin has dealt with the first response and wants the next.
  func reset() {
    if !responses.isEmpty { responses.removeFirst() }
    wakeIfReady()
  }

  private func wakeIfReady() {
    guard !responses.isEmpty, continuation != nil else { return }
    handle?.broker.later { [weak self] in
      guard let self, !responses.isEmpty, let continuation else { return }
      continuation.callback(pointer, continuation.data)
    }
  }

  /// The first response's payload; nil when it is an error.
  func payload() -> (isSuccess: Bool, text: UnsafePointer<CChar>?) {
    guard let response = responses.first, response.detail == 0 else { return (false, nil) }
    return (true, keep(response.text))
  }

  var errorText: UnsafePointer<CChar>? {
    guard let response = responses.first, let error = RPCError(response) else { return keep("no error") }
    return keep(error.description)
  }

  private func keep(_ string: String?) -> UnsafePointer<CChar>? {
    free(text)
    text = string.flatMap { strdup($0) }
    return UnsafePointer(text)
  }

  func destroy() { if let tag { handle?.forget(tag) } }
}

/// The instance as a plugin sees it: `flux_t` and `flux_reactor_t`. A client of the broker without a socket.
final class HostHandle: HostObject {
  let broker: Broker
  let log: LogService
  private var client: String?
  /// How long a process of a plugin's has, after the plugin has gone, before it is killed.
  private static let grace = 2.0
  private var lastTag: UInt32 = 0
  private var futures: [UInt32: HostFuture] = [:]

  init(_ broker: Broker, _ log: LogService) {
    self.broker = broker
    self.log = log
    client = broker.addClient(userID: broker.owner) { [weak self] message in self?.receive(message) }
  }

  /// The plugin is unloaded. What it has sent last is still delivered; then whatever runs for it ends with it.
  func close() {
    futures.removeAll()
    guard let client else { return }
    self.client = nil
    _ = broker.after(Self.grace) { [broker] in broker.removeClient(client) }
  }

  func request(_ topic: String, _ payload: JSON?, node: UInt32, flags: CInt) -> HostFuture? {
    guard let client else { return nil }
    var message = Message.request(topic, payload, node: node)
    if flags & CInt(CJOBTAP_RPC_NORESPONSE) != 0 {
      message.options.insert(.noResponse)
      send(message, client)
      return HostFuture(self, tag: nil)
    }
    if flags & CInt(CJOBTAP_RPC_STREAMING) != 0 { message.options.insert(.streaming) }
    lastTag &+= 1
    message.matchTag = lastTag
    let future = HostFuture(self, tag: lastTag)
    futures[lastTag] = future
    send(message, client)
    return future
  }

  private func send(_ message: Message, _ client: String) {
    broker.later { [broker] in broker.receive(message, from: client) }
  }

  private func receive(_ message: Message) {
    guard let future = futures[message.matchTag] else { return }
    if message.detail != 0 || !message.options.contains(.streaming) { futures[message.matchTag] = nil }
    future.receive(message)
  }

  func forget(_ tag: UInt32) { futures[tag] = nil }
}
