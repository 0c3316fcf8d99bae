// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// A request inside the instance: its message, with the sender's route pushed, and its payload.
struct Request {
  let message: Message
  let payload: JSON

  /// The same without its payload: what is kept of a request that is answered later, or more than once.
  var withoutPayload: Request {
    var message = message
    message.payload = nil
    return Request(message: message, payload: [:])
  }

  /// The topic; a request without one never gets here.
  var topic: String { message.topic ?? "" }
  /// The topic after the service's name.
  var method: String { topic.firstIndex(of: ".").map { String(topic[topic.index(after: $0)...]) } ?? "" }
  /// Who sent it: the whole route stack, outermost hop first.
  var sender: [String] { message.routes ?? [] }
  var isStreaming: Bool { message.options.contains(.streaming) }
  var userID: UInt32 { message.userID }
  /// Owner of the instance (RFC 12).
  var isOwner: Bool { message.roleMask & 1 != 0 }

  /// A member of the payload that has to be there.
  func string(_ key: String) throws(ServiceError) -> String {
    guard let value = payload[key]?.stringValue else { throw .malformed(topic, key) }
    return value
  }

  /// A member of the payload that has to be there.
  func int(_ key: String) throws(ServiceError) -> Int {
    guard let value = payload[key]?.intValue else { throw .malformed(topic, key) }
    return Int(value)
  }

  /// The job id that has to be there.
  func jobID() throws(ServiceError) -> JobID {
    guard let id = JobID(payload["id"]) else { throw .malformed(topic, "id") }
    return id
  }
}

/// An error that a service answers with.
struct ServiceError: Error {
  var errnum: Errnum
  var text: String?

  init(_ errnum: Errnum, _ text: String? = nil) {
    self.errnum = errnum
    self.text = text
  }

  static func malformed(_ topic: String, _ key: String) -> ServiceError {
    ServiceError(.protocolError, "\(topic): the request has no valid '\(key)'")
  }
}

/// Who has gone: a client of this instance, or somebody behind it.
enum Departure {
  /// The client whose connection has ended, with everybody behind it.
  case client(String)
  /// Exactly this sender, as a proxy or relay in between reports.
  case sender([String])

  func concerns(_ sender: [String]) -> Bool {
    switch self {
    case .client(let id): sender.first == id
    case .sender(let routes): sender == routes
    }
  }
}

/// A service of the instance. Runs on the instance's event loop.
protocol Service: AnyObject {
  /// The topics that it answers, beside those of every service: `ping` and `disconnect`.
  var topics: [String] { get }
  /// Takes a request for a method of this service, and answers through the broker, now or later.
  func handle(_ request: Request) throws(ServiceError)
  /// Drops the streams of somebody who has gone.
  func disconnect(_ departure: Departure)
  /// How many requests it keeps, to answer them later or again.
  var streamCount: Int { get }
}

/// The topics of a service: what it chooses by, and what it says that it answers. So the two are one.
protocol ServiceTopic: RawRepresentable<String>, CaseIterable {}

extension ServiceTopic {
  /// All of them.
  static var all: [String] { allCases.map(\.rawValue) }

  /// The topic of a request.
  ///
  /// - Throws: ENOSYS when the service does not have it.
  init(_ request: Request) throws(ServiceError) {
    guard let topic = Self(rawValue: request.topic) else { throw Broker.unknownMethod(request) }
    self = topic
  }
}

extension Service {
  func disconnect(_ departure: Departure) {}
  var streamCount: Int { 0 }
}
