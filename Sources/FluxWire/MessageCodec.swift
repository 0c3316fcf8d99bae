// SPDX-License-Identifier: LGPL-3.0-only

public import NIOCore

/// Message bodies and frames, bytes to values and back.
///
/// A body is `[routes..., empty part] [topic] [payload] proto`; a part is its length (one byte, or 0xff and four bytes big
/// endian) and its data; `proto` is 20 bytes and comes last. Source: RFC 3, and the bytes that flux-core 0.88.0 writes where
/// they differ from it (the frame's magic is in host order, its length excludes the header, ids and topic have no NUL).
public enum MessageCodec {
  /// The first four bytes of a frame: 0xffee0012 in a little-endian host's order.
  static let magic: UInt32 = 0x1200_eeff
  /// Length of the frame header: magic and length.
  static let headerLength = 8
  /// Length of the fixed part that ends each message.
  static let protoLength = 20
  /// The most routes that a message may carry: Flux's deepest path is a handful of hops.
  public static let maximumRoutes = 64
  /// The longest topic in bytes; the broker's own limit for tracking disconnects.
  public static let maximumTopicLength = 1024

  private enum Presence {
    static let topic: UInt8 = 0x01
    static let payload: UInt8 = 0x02
    static let route: UInt8 = 0x08
    static let all = topic | payload | route
  }

  /// Whether a peer takes a message: its routes, its topic, and the length of its body are within the limits. What is passed on may have grown since
  /// it was taken here.
  public static func isWithinLimits(_ message: Message) -> Bool {
    message.routes?.count ?? 0 <= maximumRoutes && message.topic?.utf8.count ?? 0 <= maximumTopicLength
      && bodyLength(message) <= FrameDecoder.defaultMaximumLength
  }

  /// How many bytes ``encodeBody(_:into:)`` appends.
  static func bodyLength(_ message: Message) -> Int {
    func part(_ length: Int) -> Int { length + (length < 0xff ? 1 : 5) }
    var length = part(protoLength)
    if let routes = message.routes { length += routes.reduce(1) { $0 + part($1.utf8.count) } }
    if let topic = message.topic { length += part(topic.utf8.count) }
    if let payload = message.payload { length += part(payload.readableBytes) }
    return length
  }

  /// Appends `message` as a whole frame: header and body.
  public static func encodeFrame(_ message: Message, into buffer: inout ByteBuffer) {
    buffer.writeInteger(magic)
    let lengthIndex = buffer.writerIndex
    buffer.writeInteger(UInt32(0))
    encodeBody(message, into: &buffer)
    buffer.setInteger(UInt32(truncatingIfNeeded: buffer.writerIndex - lengthIndex - 4), at: lengthIndex)
  }

  /// Appends `message` without a frame header, as libflux's `flux_msg_encode` writes it.
  public static func encodeBody(_ message: Message, into buffer: inout ByteBuffer) {
    var flags = message.options.rawValue & ~Presence.all
    if let routes = message.routes {
      flags |= Presence.route
      for route in routes { writePart(route.utf8, into: &buffer) }
      buffer.writeInteger(UInt8(0))
    }
    if let topic = message.topic {
      flags |= Presence.topic
      writePart(topic.utf8, into: &buffer)
    }
    if let payload = message.payload {
      flags |= Presence.payload
      writeLength(payload.readableBytes, into: &buffer)
      buffer.writeImmutableBuffer(payload)
    }
    writeLength(protoLength, into: &buffer)
    buffer.writeInteger(UInt8(0x8e))
    buffer.writeInteger(UInt8(0x01))
    buffer.writeInteger(message.kind.rawValue)
    buffer.writeInteger(flags)
    buffer.writeInteger(message.userID)
    buffer.writeInteger(message.roleMask)
    buffer.writeInteger(message.detail)
    buffer.writeInteger(message.matchTag)
  }

  /// Decodes a whole body; nothing may be left over.
  ///
  /// - Throws: ``WireError`` `message`, with what is wrong.
  public static func decodeBody(_ body: ByteBuffer) throws(WireError) -> Message {
    var proto = body
    guard body.readableBytes >= protoLength + 1 else {
      throw WireError(.message, "a message of \(body.readableBytes) bytes is too short")
    }
    proto.moveReaderIndex(forwardBy: body.readableBytes - protoLength)
    var message = try decodeProto(&proto)
    var parts = body
    let presence = message.options.rawValue
    message.options = Message.Options(rawValue: presence & ~Presence.all)
    if presence & Presence.route != 0 { message.routes = try readRoutes(&parts) }
    if presence & Presence.topic != 0 {
      message.topic = try readText(&parts, "topic", limit: maximumTopicLength)
    }
    if presence & Presence.payload != 0 { message.payload = try readPart(&parts, "payload") }
    let last = try readPart(&parts, "proto")
    guard last.readableBytes == protoLength else {
      throw WireError(.message, "the last part has \(last.readableBytes) bytes instead of \(protoLength)")
    }
    guard parts.readableBytes == 0 else {
      throw WireError(.message, "\(parts.readableBytes) bytes follow the last part that the flags announce")
    }
    return message
  }

  /// What can be said of a message whose parts cannot be taken: all but those. Nil when it is none of Flux's.
  static func outline(of body: ByteBuffer) -> Message? {
    var proto = body
    guard body.readableBytes > protoLength else { return nil }
    proto.moveReaderIndex(forwardBy: body.readableBytes - protoLength)
    guard var message = try? decodeProto(&proto) else { return nil }
    message.options = Message.Options(rawValue: message.options.rawValue & ~Presence.all)
    return message
  }

  private static func decodeProto(_ proto: inout ByteBuffer) throws(WireError) -> Message {
    guard
      let (magic, version, type, flags) = proto.readMultipleIntegers(as: (UInt8, UInt8, UInt8, UInt8).self),
      let (userID, roleMask, detail, tag) = proto.readMultipleIntegers(as: (UInt32, UInt32, UInt32, UInt32).self)
    else { throw WireError(.message, "the proto part is cut short") }
    guard magic == 0x8e else { throw WireError(.message, "the proto part starts with \(magic) instead of 142") }
    guard version == 1 else { throw WireError(.message, "message version \(version) instead of 1") }
    guard let kind = Message.Kind(rawValue: type) else { throw WireError(.message, "message type \(type) is unknown") }
    return Message(
      kind: kind, options: Message.Options(rawValue: flags), userID: userID, roleMask: roleMask, detail: detail,
      matchTag: tag)
  }

  private static func readRoutes(_ parts: inout ByteBuffer) throws(WireError) -> [String] {
    var routes: [String] = []
    while true {
      let route = try readText(&parts, "route", limit: 255)
      if route.isEmpty { return routes }
      guard routes.count < maximumRoutes else { throw WireError(.message, "more than \(maximumRoutes) routes") }
      routes.append(route)
    }
  }

  private static func readText(_ parts: inout ByteBuffer, _ what: String, limit: Int) throws(WireError) -> String {
    let part = try readPart(&parts, what)
    guard part.readableBytes <= limit else {
      throw WireError(.message, "a \(what) of \(part.readableBytes) bytes is longer than \(limit)")
    }
    guard let text = String(validating: part.readableBytesView, as: UTF8.self) else {
      throw WireError(.message, "a \(what) is not UTF-8")
    }
    return text
  }

  private static func readPart(_ parts: inout ByteBuffer, _ what: String) throws(WireError) -> ByteBuffer {
    guard let short = parts.readInteger(as: UInt8.self) else {
      throw WireError(.message, "the \(what) that the flags announce is missing")
    }
    var length = Int(short)
    if short == 0xff {
      guard let long = parts.readInteger(as: UInt32.self) else {
        throw WireError(.message, "the length of the \(what) is cut short")
      }
      length = Int(long)
    }
    guard let part = parts.readSlice(length: length) else {
      throw WireError(.message, "the \(what) has \(length) bytes, but only \(parts.readableBytes) are there")
    }
    return part
  }

  private static func writePart(_ bytes: String.UTF8View, into buffer: inout ByteBuffer) {
    writeLength(bytes.count, into: &buffer)
    buffer.writeBytes(bytes)
  }

  private static func writeLength(_ length: Int, into buffer: inout ByteBuffer) {
    if length < 0xff {
      buffer.writeInteger(UInt8(length))
    } else {
      buffer.writeInteger(UInt8(0xff))
      buffer.writeInteger(UInt32(truncatingIfNeeded: length))
    }
  }
}
