// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import NIOCore

/// `config.get`, `config.load`, `config.reload`: the instance's configuration as one JSON object.
final class ConfigService: Service {
  private unowned let broker: Broker
  private(set) var configuration: JSON
  /// Asks whether a configuration is acceptable; the text is why not.
  var check: (JSON) -> String? = { _ in nil }
  /// Told of a configuration that is taken over.
  var changed: (JSON) -> Void = { _ in }

  init(_ broker: Broker, _ configuration: JSON = [:]) {
    self.broker = broker
    self.configuration = configuration
  }

  private enum Topic: String, ServiceTopic {
    case get = "config.get"
    case load = "config.load"
    case reload = "config.reload"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .get: broker.respond(request, configuration)
    case .load:
      if let objection = check(request.payload) { throw ServiceError(.invalid, objection) }
      configuration = request.payload
      changed(configuration)
      broker.respond(request)
    // There is no file to read again: it stays as it is, as that of a Flux without one.
    case .reload: broker.respond(request)
    }
  }
}

/// `event.subscribe`, `event.unsubscribe`, `event.publish`.
final class EventService: Service {
  private unowned let broker: Broker

  init(_ broker: Broker) { self.broker = broker }

  private enum Topic: String, ServiceTopic {
    case subscribe = "event.subscribe"
    case unsubscribe = "event.unsubscribe"
    case publish = "event.publish"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    let topic = try request.string("topic")
    switch try Topic(request) {
    case .subscribe:
      try broker.subscribe(request.sender.first ?? "", topic)
      broker.respond(request)
    case .unsubscribe:
      guard broker.unsubscribe(request.sender.first ?? "", topic) else { throw ServiceError(.noEntry) }
      broker.respond(request)
    case .publish:
      var payload: ByteBuffer?
      if let text = request.payload["payload"]?.stringValue {
        guard let bytes = try? Base64.decode(text) else { throw .malformed(request.topic, "payload") }
        payload = ByteBuffer(bytes: bytes)
      }
      let event = Message(
        kind: .event, userID: request.userID, roleMask: request.message.roleMask, topic: topic, payload: payload)
      broker.respond(request, ["seq": .int(Int64(broker.publish(event)))])
    }
  }
}

/// `log.append`, `log.dmesg`: the instance's log, its newest 1024 lines in memory.
final class LogService: Service {
  /// The longest line, in bytes. Flux's own clients send 2 KiB at most.
  static let maximumLine = 16 << 10
  /// How many lines are kept.
  static let capacity = 1024
  /// The one request whose payload is not JSON.
  static let appendTopic = "log.append"
  private unowned let broker: Broker
  private var lines: [String] = []
  private var followers = StreamSet<Void>()
  /// Told of the instance's own lines: level, and what is shown of it.
  var observer: ((Int, String) -> Void)?
  private static let levels = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]

  init(_ broker: Broker) { self.broker = broker }

  private enum Topic: String, ServiceTopic {
    case append = "log.append"
    case dmesg = "log.dmesg"
    case clear = "log.clear"
    case cancel = "log.cancel"
  }

  var topics: [String] { Topic.all }
  var streamCount: Int { followers.count }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .append: append(line: request.message.text ?? "")
    case .dmesg:
      guard request.isStreaming else { throw ServiceError(.protocolError) }
      if request.payload["nobacklog"]?.boolValue != true {
        for line in lines { broker.respond(request, raw: line) }
      }
      guard request.payload["follow"]?.boolValue == true else { throw ServiceError(.noData) }
      _ = try followers.add(request, ())
    case .clear:
      lines.removeAll()
      broker.respond(request)
    case .cancel:
      if let number = followers.find(cancelledBy: request), let stream = followers.remove(number) {
        broker.respond(stream, errnum: .noData)
      }
    }
  }

  /// Adds a line, an RFC 5424 message as Flux's are. One that is too long is cut.
  func append(line text: String) {
    let isLong = text.utf8.count > Self.maximumLine
    let line = isLong ? String(decoding: text.utf8.prefix(Self.maximumLine), as: UTF8.self) : text
    if lines.count >= Self.capacity { lines.removeFirst(lines.count - Self.capacity + 1) }
    lines.append(line)
    broker.respond(toAll: followers.streams.values.map(\.request)) { Message.payload(text: line) }
  }

  /// Adds a line of the instance's own. Flux writes the severity into the upper bits of an RFC 5424 priority, not the lower.
  func append(level: Int, _ module: String, _ text: String) {
    append(line: "<\(level << 3 | 1)>1 \(Timestamp.iso(broker.now())) 0 \(module) - - - \(text)")
    observer?(level, "\(module).\(Self.levels[min(max(level, 0), 7)])[0]: \(text)")
  }

  func disconnect(_ departure: Departure) { followers.drop(departure) }
}
