// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob
public import NIOCore

/// One Flux message (RFC 3), as it travels on a local or ssh connection.
///
/// What the wire expresses twice (a flag that says that a part is there, and the part) is here once: `routes`, `topic` and
/// `payload` are optional, and their flags are derived from them. `options` holds the other flags.
public struct Message: Hashable, Sendable {
  /// The message types of RFC 3.
  public enum Kind: UInt8, Hashable, Sendable, CaseIterable {
    /// Asks a service for something.
    case request = 1
    /// Answers a request.
    case response = 2
    /// Is broadcast to subscribers.
    case event = 4
    /// Travels between brokers only; never on a local socket.
    case control = 8
  }

  /// The flags of RFC 3 that do not announce a part of the message.
  public struct Options: OptionSet, Hashable, Sendable {
    /// The bits as on the wire.
    public var rawValue: UInt8
    /// Takes bits as they are on the wire.
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The sender wants no response (0x04).
    public static let noResponse = Options(rawValue: 0x04)
    /// Route towards the root from the rank in `detail` (0x10).
    public static let upstream = Options(rawValue: 0x10)
    /// Only the instance owner and the sender may see it (0x20).
    public static let isPrivate = Options(rawValue: 0x20)
    /// A streaming RPC: responses follow until one has an error (0x40).
    public static let streaming = Options(rawValue: 0x40)
    /// Free for the application (0x80).
    public static let user1 = Options(rawValue: 0x80)
  }

  /// The node id that means "the nearest rank that has the service" (RFC 3).
  public static let anyNode: UInt32 = 0xffff_ffff
  /// The user id that means "unknown"; the broker fills it in (RFC 12).
  public static let unknownUser: UInt32 = 0xffff_ffff

  /// The type.
  public var kind: Kind
  /// Flags other than those that announce a part.
  public var options: Options
  /// The sender's user id as stamped by the broker, or ``unknownUser``.
  public var userID: UInt32
  /// The sender's roles (RFC 12): owner 1, user 2, local 4, admin 8.
  public var roleMask: UInt32
  /// Request: node id. Response: errnum, 0 is success. Event: sequence number. Control: type.
  public var detail: UInt32
  /// Request and response: match tag, 0 is none. Control: status.
  public var matchTag: UInt32
  /// The route stack, most recently pushed id first; nil when the message has no route part at all.
  public var routes: [String]?
  /// The topic, such as `job-ingest.submit`.
  public var topic: String?
  /// The payload as it is on the wire; JSON payloads end with a NUL byte.
  public var payload: ByteBuffer?

  /// A message from its parts.
  public init(
    kind: Kind, options: Options = [], userID: UInt32 = Message.unknownUser, roleMask: UInt32 = 0, detail: UInt32 = 0,
    matchTag: UInt32 = 0, routes: [String]? = nil, topic: String? = nil, payload: ByteBuffer? = nil
  ) {
    self.kind = kind
    self.options = options
    self.userID = userID
    self.roleMask = roleMask
    self.detail = detail
    self.matchTag = matchTag
    self.routes = routes
    self.topic = topic
    self.payload = payload
  }
}

extension Message {
  /// A request as libflux writes it: with an empty route stack, user unknown, role 0.
  public static func request(
    _ topic: String, _ payload: JSON? = nil, node: UInt32 = anyNode, matchTag: UInt32 = 0, options: Options = []
  ) -> Message {
    Message(
      kind: .request, options: options, detail: node, matchTag: matchTag, routes: [], topic: topic,
      payload: payload.map(Message.payload(of:)))
  }

  /// The response to `request`: same topic, tag and routes, as a service must answer.
  ///
  /// - Parameter errnum: 0 for success, else a Linux errno.
  public static func response(to request: Message, errnum: UInt32 = 0, payload: ByteBuffer? = nil) -> Message {
    var options = request.options
    options.remove(.noResponse)
    return Message(
      kind: .response, options: options, userID: request.userID, roleMask: request.roleMask, detail: errnum,
      matchTag: request.matchTag, routes: request.routes ?? [], topic: request.topic, payload: payload)
  }

  /// The bytes of a JSON payload: the text and its NUL terminator.
  public static func payload(of json: JSON) -> ByteBuffer {
    var bytes: [UInt8] = []
    json.write(to: &bytes)
    bytes.append(0)
    return ByteBuffer(bytes: bytes)
  }

  /// The bytes of a text payload, such as an error's words: the text and its NUL terminator.
  public static func payload(text: String) -> ByteBuffer { ByteBuffer(bytes: Array(text.utf8) + [0]) }

  /// How deep the payload of a response or an event may be. Deeper than that of a request: it wraps what others have asked for, and whoever
  /// could not read it would suffer for them.
  private static let answerDepth = 512

  /// The payload as a JSON object.
  ///
  /// - Returns: nil when the message has no payload.
  /// - Throws: ``WireError`` `payload` when it has no NUL terminator, is not JSON or is not an object (Flux answers EPROTO).
  public func json() throws(WireError) -> JSON? {
    guard let payload else { return nil }
    var view = payload.readableBytesView
    guard view.last == 0 else { throw WireError(.payload, "\(label): the JSON payload has no NUL terminator") }
    view.removeLast()
    let value: JSON
    var limits = JSON.Limits()
    if kind != .request { limits.depth = Self.answerDepth }
    do { value = try JSON(parsing: view, limits: limits) } catch { throw WireError(.payload, "\(label): \(error)") }
    guard value.objectValue != nil else { throw WireError(.payload, "\(label): the payload is not a JSON object") }
    return value
  }

  /// The payload as text without its terminator: what error responses and raw payloads (`log.dmesg`) carry.
  public var text: String? {
    guard let payload else { return nil }
    var view = payload.readableBytesView
    if view.last == 0 { view.removeLast() }
    return String(decoding: view, as: UTF8.self).withOrderedMarks
  }

  /// The service that a request is for: the topic up to the first dot.
  public var service: Substring? { topic?.prefix { $0 != "." } }

  private var label: String { topic ?? "message without topic" }
}
