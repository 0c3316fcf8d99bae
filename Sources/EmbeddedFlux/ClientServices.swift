// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The services that clients have registered: a name, and whose it is. Pure.
///
/// The answers are those of Flux's router, which sends an errno without words.
struct ClientServices {
  /// The most services of one client. Flux has no such limit.
  static let maximumPerClient = 64
  /// The most services of all clients.
  static let maximum = 4096
  /// The longest name, in bytes: a topic is no longer either.
  static let maximumName = 255

  private var owners: [String: String] = [:]
  private var names: [String: Set<String>] = [:]

  /// How many there are.
  var count: Int { owners.count }

  /// The client that a service is of.
  func owner(of name: Substring) -> String? { owners.isEmpty ? nil : owners[String(name)] }

  /// Registers a service. `isTaken` says whether the instance itself has one of that name.
  mutating func add(_ name: String, of client: String, isTaken: Bool) throws(ServiceError) {
    guard !name.contains("."), name.utf8.count <= Self.maximumName else { throw ServiceError(.invalid) }
    guard !isTaken, owners[name] == nil else { throw ServiceError(.exists) }
    guard owners.count < Self.maximum, names[client]?.count ?? 0 < Self.maximumPerClient else {
      throw ServiceError(
        .busy, "a client may have \(Self.maximumPerClient) services, and all together \(Self.maximum)")
    }
    owners[name] = client
    names[client, default: []].insert(name)
  }

  /// Takes a service away; only its owner may.
  mutating func remove(_ name: String, of client: String) throws(ServiceError) {
    guard owners[name] == client else { throw ServiceError(.noEntry) }
    owners[name] = nil
    names[client]?.remove(name)
    if names[client]?.isEmpty == true { names[client] = nil }
  }

  /// A client has gone, and its services with it.
  mutating func removeAll(of client: String) {
    for name in names.removeValue(forKey: client) ?? [] { owners[name] = nil }
  }
}

/// What the services of other clients are told when a client goes away: `PREFIX.disconnect`, once for each prefix that it has asked.
/// Pure.
struct DisconnectNotes {
  /// The most prefixes that are remembered of a client; the services beyond hear nothing of its end.
  static let maximum = 1024

  private struct Key: Hashable {
    var topic: String
    var node: UInt32
  }

  private var order: [Message] = []
  private var known: Set<Key> = []

  /// The messages to send, in the order of the first requests.
  var messages: [Message] { order }

  /// A request was passed on to a client's service. What wants no response leaves nothing behind, as in Flux.
  mutating func note(_ request: Message) {
    guard !request.options.contains(.noResponse), let topic = request.topic, order.count < Self.maximum else { return }
    let prefix = topic.lastIndex(of: ".").map { topic[..<$0] } ?? topic[...]
    let key = Key(topic: "\(prefix).disconnect", node: request.detail)
    // Longer than a topic may be, it would cost the service's owner the connection. Flux does not track these either.
    guard key.topic.utf8.count <= MessageCodec.maximumTopicLength else { return }
    guard known.insert(key).inserted else { return }
    var message = request
    message.topic = key.topic
    message.payload = nil
    message.options.remove(.streaming)
    message.options.insert(.noResponse)
    order.append(message)
  }
}

/// `service.add` and `service.remove`: what `flux_service_register` sends.
final class RegistrationService: Service {
  private unowned let broker: Broker

  init(_ broker: Broker) { self.broker = broker }

  private enum Topic: String, ServiceTopic {
    case add = "service.add"
    case remove = "service.remove"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    let topic = try Topic(request)
    guard let name = request.payload["service"]?.stringValue, let client = request.sender.first else {
      throw ServiceError(.protocolError)
    }
    switch topic {
    case .add: try broker.addService(name, of: client)
    case .remove: try broker.removeService(name, of: client)
    }
    broker.respond(request)
  }
}
