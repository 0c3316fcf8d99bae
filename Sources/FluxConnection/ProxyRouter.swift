// SPDX-License-Identifier: LGPL-3.0-only

public import FluxWire

/// Lets many clients share one connection to an instance, as `flux proxy` does: messages go in, what to send comes out.
///
/// A client's requests travel with the client's route id on top of their route stack, and the responses come back with
/// it. Some requests are about the connection itself and are answered here: subscriptions are counted and only the
/// first and the last user of a topic concern the instance; services are registered in the proxy's own name. When a
/// client goes away the services that it has used are told, as the instance's own router tells them about its clients.
public struct ProxyRouter: Sendable {
  /// What to do.
  public enum Action: Hashable, Sendable {
    /// Send a message to the instance.
    case upstream(Message)
    /// Send a message to the client with this route id.
    case client(String, Message)
  }

  /// Whom to tell that a client has gone.
  private struct Endpoint: Hashable {
    var topic: String
    var node: UInt32
    var isUpstream: Bool
  }

  private struct Client {
    var subscriptions: [String: Int] = [:]
    var endpoints: Set<Endpoint> = []
  }

  /// A request of the proxy's own on behalf of a client.
  private struct Pending {
    enum Subject { case subscription(String), serviceAdd(String), serviceRemove(String) }
    var client: String
    var request: Message
    var subject: Subject
  }

  private var clients: [String: Client] = [:]
  private var subscriptions: [String: Int] = [:]
  private var services: [String: String] = [:]
  private var pending: [UInt32: Pending] = [:]
  private var lastTag: UInt32 = 0

  /// No client yet.
  public init() {}

  /// The route ids of the clients that are connected.
  public var clientRoutes: Set<String> { Set(clients.keys) }

  /// A client has connected.
  ///
  /// - Parameter route: its route id. Services tell senders apart by it, so it has to be unique in the whole instance.
  public mutating func connect(_ route: String) { clients[route] = Client() }

  /// A client has gone.
  public mutating func disconnect(_ route: String) -> [Action] {
    guard let client = clients.removeValue(forKey: route) else { return [] }
    var actions: [Action] = []
    for endpoint in client.endpoints.sorted(by: { ($0.topic, $0.node) < ($1.topic, $1.node) }) {
      var message = Message.request(endpoint.topic, node: endpoint.node, options: .noResponse)
      if endpoint.isUpstream { message.options.insert(.upstream) }
      message.routes = [route]
      actions.append(.upstream(message))
    }
    for (topic, count) in client.subscriptions.sorted(by: { $0.key < $1.key }) {
      actions += release(topic, count)
    }
    for service in services.filter({ $0.value == route }).keys.sorted() {
      services[service] = nil
      actions.append(.upstream(.request("service.remove", ["service": .string(service)], matchTag: nextTag())))
    }
    return actions
  }

  /// A client has sent a message.
  public mutating func receive(from route: String, _ message: Message) -> [Action] {
    guard clients[route] != nil, let topic = message.topic else { return [] }
    switch message.kind {
    case .control: return []
    case .event, .response: return [.upstream(message)]
    case .request: break
    }
    switch topic {
    case "event.subscribe": return subscribe(route, message)
    case "event.unsubscribe": return unsubscribe(route, message)
    case "service.add", "service.remove": return register(route, message, isAdding: topic == "service.add")
    default: break
    }
    // One hop more than the instance accepts would cost everybody the connection.
    guard (message.routes?.count ?? 0) < MessageCodec.maximumRoutes else {
      return Self.answer(route, message, .hostUnreachable)
    }
    if !message.options.contains(.noResponse) {
      clients[route]?.endpoints.insert(
        Endpoint(
          topic: Self.disconnectTopic(topic), node: message.detail, isUpstream: message.options.contains(.upstream)))
    }
    var forwarded = message
    forwarded.routes = [route] + (message.routes ?? [])
    return [.upstream(forwarded)]
  }

  /// The instance has sent a message.
  public mutating func receiveUpstream(_ message: Message) -> [Action] {
    switch message.kind {
    case .control: return []
    case .event:
      let topic = message.topic ?? ""
      let receivers = clients.filter { $0.value.subscriptions.keys.contains { topic.hasPrefix($0) } }
      return receivers.keys.sorted().map { .client($0, message) }
    case .request:
      if let service = message.service, let route = services[String(service)] { return [.client(route, message)] }
      guard !message.options.contains(.noResponse) else { return [] }
      return [.upstream(.response(to: message, errnum: Errnum.notImplemented.rawValue))]
    case .response:
      guard let route = message.routes?.first else { return finish(message) }
      guard clients[route] != nil else { return [] }
      var delivered = message
      delivered.routes?.removeFirst()
      return [.client(route, delivered)]
    }
  }

  /// Where a service is told that a client has gone: its topic up to the last dot, and `disconnect`.
  private static func disconnectTopic(_ topic: String) -> String {
    topic.lastIndex(of: ".").map { topic[..<$0] + ".disconnect" } ?? "disconnect"
  }

  // MARK: Subscriptions

  private mutating func subscribe(_ route: String, _ message: Message) -> [Action] {
    guard let topic = Self.text(message, "topic") else { return Self.answer(route, message, .protocolError) }
    clients[route]?.subscriptions[topic, default: 0] += 1
    subscriptions[topic, default: 0] += 1
    guard subscriptions[topic] == 1 else { return Self.answer(route, message, nil) }
    return ask(route, message, .subscription(topic))
  }

  private mutating func unsubscribe(_ route: String, _ message: Message) -> [Action] {
    guard let topic = Self.text(message, "topic") else { return Self.answer(route, message, .protocolError) }
    guard let count = clients[route]?.subscriptions[topic] else { return Self.answer(route, message, .noEntry) }
    clients[route]?.subscriptions[topic] = count > 1 ? count - 1 : nil
    return release(topic, 1) + Self.answer(route, message, nil)
  }

  private mutating func release(_ topic: String, _ count: Int) -> [Action] {
    let left = (subscriptions[topic] ?? 0) - count
    subscriptions[topic] = left > 0 ? left : nil
    guard left <= 0 else { return [] }
    return [.upstream(.request("event.unsubscribe", ["topic": .string(topic)], matchTag: nextTag()))]
  }

  // MARK: Services

  private mutating func register(_ route: String, _ message: Message, isAdding: Bool) -> [Action] {
    guard let service = Self.text(message, "service") else { return Self.answer(route, message, .protocolError) }
    if isAdding {
      guard services[service] == nil else { return Self.answer(route, message, .exists) }
    } else {
      guard services[service] == route else { return Self.answer(route, message, .noEntry) }
    }
    return ask(route, message, isAdding ? .serviceAdd(service) : .serviceRemove(service))
  }

  // MARK: Requests of the proxy's own

  /// Asks the instance the same in the proxy's own name.
  private mutating func ask(_ route: String, _ message: Message, _ subject: Pending.Subject) -> [Action] {
    let tag = nextTag()
    pending[tag] = Pending(client: route, request: message, subject: subject)
    var request = message
    request.routes = []
    request.matchTag = tag
    request.options.remove(.noResponse)
    return [.upstream(request)]
  }

  private mutating func nextTag() -> UInt32 {
    repeat { lastTag = lastTag == .max ? 1 : lastTag + 1 } while pending[lastTag] != nil
    return lastTag
  }

  /// The instance has answered a request of the proxy's own.
  private mutating func finish(_ response: Message) -> [Action] {
    guard let entry = pending.removeValue(forKey: response.matchTag) else { return [] }
    let isKnown = clients[entry.client] != nil
    switch entry.subject {
    case .serviceAdd(let service) where response.detail == 0:
      guard isKnown else {
        return [.upstream(.request("service.remove", ["service": .string(service)], matchTag: nextTag()))]
      }
      services[service] = entry.client
    case .serviceRemove(let service) where response.detail == 0: services[service] = nil
    case .subscription(let topic) where response.detail != 0:
      // Those who have joined it meanwhile are not subscribed either.
      for client in clients.keys { clients[client]?.subscriptions[topic] = nil }
      subscriptions[topic] = nil
    default: break
    }
    guard isKnown, !entry.request.options.contains(.noResponse) else { return [] }
    var answer = Message.response(to: entry.request, errnum: response.detail, payload: response.payload)
    answer.roleMask = response.roleMask
    return [.client(entry.client, answer)]
  }

  private static func answer(_ route: String, _ request: Message, _ error: Errnum?) -> [Action] {
    guard !request.options.contains(.noResponse) else { return [] }
    var answer = Message.response(to: request, errnum: error?.rawValue ?? 0)
    answer.roleMask = 1
    return [.client(route, answer)]
  }

  private static func text(_ message: Message, _ key: String) -> String? {
    (try? message.json())?[key]?.stringValue
  }
}
