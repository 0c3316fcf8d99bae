// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import Logging
import NIOCore

/// The message router of an embedded instance: clients, services, events. Lives on one event loop.
///
/// It answers as Flux's broker does: an unknown service with ENOSYS and its words, requests for another rank with EHOSTUNREACH, and
/// every response goes back along the request's routes.
final class Broker {
  /// Where messages for a client go.
  typealias Sink = (Message) -> Void

  private struct Client {
    var send: Sink
    var userID: UInt32
    var subscriptions: [String: Int] = [:]
    /// Who has to hear of its end.
    var disconnects = DisconnectNotes()
  }

  /// The most subscriptions of a client to different topics, and the longest, in bytes: a topic is no longer either. All are looked through
  /// for every event.
  static let maximumSubscriptions = 4096
  static let maximumPrefix = 1024
  /// The most clients at once.
  static let maximumClients = 4096
  /// The owner's roles on a local connection (RFC 12): owner and local.
  static let ownerRoles: UInt32 = 5

  let loop: any EventLoop
  let logger: Logger
  let owner: UInt32
  private var clients: [String: Client] = [:]
  private var services: [String: any Service] = [:]
  private var clientServices = ClientServices()
  private var eventSequence: UInt32 = 0
  private var nextClient: UInt64 = 0
  private let clientPrefix: String
  private let clock: () -> Double
  /// Told of a subscription, by its prefix.
  var subscribed: (String) -> Void = { _ in }
  /// Told of a topic that is answered with ENOSYS.
  var unanswered: (String) -> Void = { _ in }
  /// Where the state is kept; nothing leaves before what it tells of is written.
  var store: StateStore? {
    didSet { outflow.held = { [weak store] in store?.held(for: $0) ?? 0 } }
  }
  /// What is on its way to the clients.
  private(set) lazy var outflow = Outflow { [weak self] in self?.later($0) }

  /// - Parameters:
  ///   - prefix: what the names of clients begin with.
  ///   - clock: what time it is, in seconds since the epoch.
  init(
    loop: any EventLoop, logger: Logger, prefix: UInt64 = .random(in: .min ... .max),
    clock: @escaping () -> Double = Broker.realTime
  ) {
    self.loop = loop
    self.logger = logger
    self.clock = clock
    owner = getuid()
    clientPrefix = String(prefix, radix: 16)
  }

  /// Seconds since the epoch.
  func now() -> Double { clock() }

  /// The machine's clock.
  static func realTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  /// Runs something later on the loop, after what is under way.
  func later(_ work: @escaping () -> Void) {
    let box = NIOLoopBound(work, eventLoop: loop)
    loop.execute { box.value() }
  }

  /// Runs something after a time in seconds.
  func after(_ seconds: Double, _ work: @escaping () -> Void) -> Scheduled<Void> {
    let box = NIOLoopBound(work, eventLoop: loop)
    // What is no number is no time to wait for.
    let nanoseconds = seconds > 0 ? Int64(min(seconds, 1e9) * 1e9) : 0
    return loop.scheduleTask(in: .nanoseconds(nanoseconds)) { box.value() }
  }

  // MARK: Clients

  /// A client has connected. Returns its id, or nil when there are too many.
  func addClient(userID: UInt32, _ send: @escaping Sink) -> String? {
    guard clients.count < Self.maximumClients else { return nil }
    nextClient += 1
    let id = "\(clientPrefix)-\(nextClient)"
    clients[id] = Client(send: send, userID: userID)
    outflow.add(id)
    return id
  }

  func removeClient(_ id: String) {
    guard let client = clients.removeValue(forKey: id) else { return }
    outflow.remove(id)
    for service in distinctServices { service.disconnect(.client(id)) }
    for message in client.disconnects.messages { _ = forward(message) }
    // As in Flux, requests that this client had not answered yet stay without an answer.
    clientServices.removeAll(of: id)
  }

  private var distinctServices: [any Service] {
    var seen: Set<ObjectIdentifier> = []
    return services.values.filter { seen.insert(ObjectIdentifier($0)).inserted }
  }

  /// How many messages have come from clients.
  private(set) var received: UInt64 = 0

  /// A message has come from a client.
  func receive(_ message: Message, from id: String) {
    guard let client = clients[id] else { return }
    received += 1
    var message = message
    // The owner may speak for others (RFC 12); everybody who may connect is the owner here.
    if message.userID == Message.unknownUser { message.userID = client.userID }
    if message.roleMask == 0 { message.roleMask = Self.ownerRoles }
    switch message.kind {
    case .request: route(message, from: id)
    case .event: if MessageCodec.isWithinLimits(Self.published(message)) { publish(message) }
    // The answer of a client's own service.
    case .response: send(message)
    case .control: break
    }
  }

  private func route(_ message: Message, from id: String) {
    var message = message
    message.routes = [id] + (message.routes ?? [])
    guard message.topic != nil else { return }
    let isInvalid = message.options.contains(.noResponse) && message.options.contains(.streaming)
    guard !isInvalid else { return }
    dispatch(message)
  }

  private func dispatch(_ message: Message) {
    let topic = message.topic ?? ""
    if let refusal = store?.refusal(of: message) { return refuse(message, refusal) }
    guard message.detail == Message.anyNode || (message.detail == 0 && !message.options.contains(.upstream)) else {
      return respond(to: message, errnum: .hostUnreachable)
    }
    if forward(message) { return }
    if topic.hasSuffix(".disconnect") {
      if let service = services[String(message.service ?? "")] { service.disconnect(.sender(message.routes ?? [])) }
      // A plugin's service hears of it as well.
      if message.service != "job-manager" { return }
    }
    if topic.hasSuffix(".ping"), ping(message) { return }
    guard let service = services[String(message.service ?? "")] else {
      unanswered(topic)
      return respond(to: message, errnum: .notImplemented, text: "No service matching \(topic) is registered")
    }
    let payload: JSON
    // A line for the log is text.
    do { payload = topic == LogService.appendTopic ? [:] : try message.json() ?? [:] } catch {
      return respond(to: message, errnum: .protocolError)
    }
    do throws(ServiceError) { try service.handle(Request(message: message, payload: payload)) } catch {
      if error.errnum == .notImplemented { unanswered(topic) }
      respond(to: message, errnum: error.errnum, text: error.text)
    }
  }

  /// Every service answers `ping`, as in Flux: with what it is sent, and who has sent it.
  ///
  /// - Returns: false when there is no such service.
  private func ping(_ message: Message) -> Bool {
    let name = String(message.service ?? "")
    guard message.topic == "\(name).ping", name == "broker" || services[name] != nil else { return false }
    guard var answer = (try? message.json())??.objectValue else {
      respond(to: message, errnum: .protocolError)
      return true
    }
    let hops = (message.routes ?? []).reversed().map { String($0.prefix(8)) } + [name]
    answer["route"] = .string(hops.joined(separator: "!"))
    answer["userid"] = .int(Int64(message.userID))
    answer["rolemask"] = .int(Int64(message.roleMask))
    answer["rank"] = 0
    send(Message.response(to: message, payload: Message.payload(of: .object(answer))), to: message)
    return true
  }

  // MARK: Services

  func addService(_ name: String, of client: String) throws(ServiceError) {
    try clientServices.add(name, of: client, isTaken: services[name] != nil)
  }

  func removeService(_ name: String, of client: String) throws(ServiceError) {
    try clientServices.remove(name, of: client)
  }

  /// Passes a request on to the client that has registered its service; one of the instance's own comes first.
  ///
  /// - Returns: false when no client has.
  private func forward(_ message: Message) -> Bool {
    guard let topic = message.topic, let name = message.service, let owner = clientServices.owner(of: name),
      services[String(name)] == nil, clients[owner] != nil
    else { return false }
    guard topic.utf8.count > name.utf8.count else {
      respond(to: message, errnum: .notImplemented)
      return true
    }
    // With the sender's route it may be more than the owner takes, who would lose the connection.
    guard MessageCodec.isWithinLimits(message) else {
      respond(
        to: message, errnum: message.routes?.count ?? 0 > MessageCodec.maximumRoutes ? .hostUnreachable : .overflow)
      return true
    }
    if let sender = message.routes?.first { clients[sender]?.disconnects.note(message) }
    send(message, to: owner)
    return true
  }

  func register(_ name: String, _ service: any Service) { services[name] = service }

  func unregister(_ name: String) { services[name] = nil }

  /// Every topic that is answered now, in order, but for `ping`, `disconnect` and what plugins and clients have registered.
  var topics: [String] { Set(services.values.flatMap(\.topics)).sorted() }

  /// How many requests all services keep.
  var streamCount: Int { distinctServices.reduce(0) { $0 + $1.streamCount } }

  /// The error for a method that a service does not have.
  static func unknownMethod(_ request: Request) -> ServiceError {
    ServiceError(.notImplemented, "Unknown service method '\(request.topic)'")
  }

  /// Answers with success.
  func respond(_ request: Request, _ payload: JSON? = nil) {
    send(Message.response(to: request.message, payload: payload.map(Message.payload(of:))), to: request.message)
  }

  /// Answers with what a source sends, as fast as the client reads it.
  func respond(_ request: Request, from source: @escaping Outflow.Source) {
    guard let client = request.message.routes?.first else { return }
    outflow.start(for: client, source)
  }

  /// Whether the client of a request reads about as fast as it is answered.
  func hasRoom(for request: Request) -> Bool { request.message.routes?.first.map(outflow.hasRoom) ?? false }

  /// Answers with text that is not JSON.
  func respond(_ request: Request, raw text: String) {
    send(Message.response(to: request.message, payload: ByteBuffer(bytes: Array(text.utf8) + [0])), to: request.message)
  }

  /// Answers with an error; ends a stream.
  func respond(_ request: Request, errnum: Errnum, text: String? = nil) {
    respond(to: request.message, errnum: errnum, text: text)
  }

  private func respond(to message: Message, errnum: Errnum, text: String? = nil) {
    let payload = text.map { ByteBuffer(bytes: Array($0.utf8) + [0]) }
    send(Message.response(to: message, errnum: errnum.rawValue, payload: payload), to: message)
  }

  /// Answers several requests alike. What they are answered is made once, and only if there are any.
  func respond(toAll requests: some Sequence<Request>, _ payload: () -> ByteBuffer) {
    var made: ByteBuffer?
    for request in requests {
      let shared = made ?? payload()
      made = shared
      respond(to: request.message, payload: shared)
    }
  }

  func respond(to message: Message, payload: ByteBuffer?) {
    send(Message.response(to: message, payload: payload), to: message)
  }

  func respond(to message: Message, error: Errnum, text: String?) { respond(to: message, errnum: error, text: text) }

  private func send(_ response: Message, to request: Message) {
    guard !request.options.contains(.noResponse) else { return }
    send(response)
  }

  private func send(_ response: Message) {
    guard var routes = response.routes, let first = routes.first, clients[first] != nil else { return }
    routes.removeFirst()
    var response = response
    response.routes = routes
    send(response, to: first)
  }

  private func send(_ message: Message, to client: String) {
    if store?.hold(message, for: client) != true { deliver(message, to: client) }
  }

  /// Gives a message to a client that waits for nothing any more.
  func deliver(_ message: Message, to client: String) { clients[client]?.send(message) }

  /// Answers at once: an error that changes nothing need not wait for what others have changed.
  private func refuse(_ message: Message, _ error: ServiceError) {
    guard !message.options.contains(.noResponse), let client = message.routes?.first else { return }
    var response = Message.response(
      to: message, errnum: error.errnum.rawValue, payload: error.text.map(Message.payload(text:)))
    response.routes = Array(response.routes?.dropFirst() ?? [])
    deliver(response, to: client)
  }

  // MARK: Events

  /// - Throws: EOVERFLOW when the client has too many, or it is longer than a topic.
  func subscribe(_ client: String, _ prefix: String) throws(ServiceError) {
    let known = clients[client]?.subscriptions ?? [:]
    guard prefix.utf8.count <= Self.maximumPrefix, known[prefix] != nil || known.count < Self.maximumSubscriptions
    else {
      throw ServiceError(
        .overflow, "a client may have \(Self.maximumSubscriptions) subscriptions of \(Self.maximumPrefix) bytes")
    }
    clients[client]?.subscriptions[prefix, default: 0] += 1
    subscribed(prefix)
  }

  func hasSubscribers(to topic: String) -> Bool {
    clients.values.contains { $0.subscriptions.keys.contains(where: topic.hasPrefix) }
  }

  func unsubscribe(_ client: String, _ prefix: String) -> Bool {
    guard let count = clients[client]?.subscriptions[prefix] else { return false }
    clients[client]?.subscriptions[prefix] = count > 1 ? count - 1 : nil
    return true
  }

  /// Sends an event to its subscribers. Returns its sequence number.
  @discardableResult
  func publish(_ event: Message) -> UInt32 {
    eventSequence &+= 1
    var event = Self.published(event)
    event.detail = eventSequence
    let topic = event.topic ?? ""
    for (id, client) in clients where client.subscriptions.keys.contains(where: topic.hasPrefix) { send(event, to: id) }
    return eventSequence
  }

  /// An event as its subscribers get it, but for its number.
  private static func published(_ event: Message) -> Message {
    var event = event
    event.routes = event.routes ?? []
    return event
  }

  func publish(_ topic: String, _ payload: JSON) {
    publish(
      Message(
        kind: .event, userID: owner, roleMask: Self.ownerRoles, topic: topic, payload: Message.payload(of: payload)))
  }
}
