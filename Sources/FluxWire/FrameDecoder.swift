// SPDX-License-Identifier: LGPL-3.0-only

public import NIOCore

/// What arrives on a connection.
public enum Inbound: Hashable, Sendable {
  /// The one byte with which a server answers a connection: 0, or the errno of its refusal.
  case greeting(UInt8)
  /// A message.
  case message(Message)
  /// A message whose parts cannot be taken, without these; and why. Only on the client's side.
  case unreadable(Message, WireError)
}

/// Cuts a byte stream into frames and decodes the message in each.
///
/// A frame's length is checked before anything is kept of it, so a peer cannot make this side buffer more than the limit.
/// A frame of length 0, which makes flux-core's broker abort, is an error here. A message that is whole and yet cannot be taken is one on the
/// server's side alone: a client gets what others have sent, and need not lose its connection for that.
public struct FrameDecoder: NIOSingleStepByteToMessageDecoder, Sendable {
  /// What it makes of the bytes.
  public typealias InboundOut = Inbound

  /// The default of the longest body: 64 MiB. Flux has no limit of its own.
  public static let defaultMaximumLength = 64 << 20

  private var expectsGreeting: Bool
  private let isClient: Bool
  private let maximumLength: Int

  /// A decoder for one connection.
  ///
  /// - Parameters:
  ///   - expectsGreeting: true on the client's side, where the server's byte comes first.
  ///   - maximumLength: the longest body in bytes.
  public init(expectsGreeting: Bool, maximumLength: Int = FrameDecoder.defaultMaximumLength) {
    self.expectsGreeting = expectsGreeting
    isClient = expectsGreeting
    self.maximumLength = maximumLength
  }

  /// Takes the next greeting or message out of `buffer`, or nil when it is not there whole.
  public mutating func decode(buffer: inout ByteBuffer) throws -> Inbound? {
    if expectsGreeting {
      guard let byte = buffer.readInteger(as: UInt8.self) else { return nil }
      expectsGreeting = false
      return .greeting(byte)
    }
    guard let magic = buffer.getInteger(at: buffer.readerIndex, as: UInt32.self) else { return nil }
    guard magic == MessageCodec.magic else {
      throw WireError(.frame, "the peer does not speak Flux: a frame starts with \(Self.preview(buffer))")
    }
    guard let length = buffer.getInteger(at: buffer.readerIndex + 4, as: UInt32.self) else { return nil }
    guard length > 0 else { throw WireError(.frame, "a frame of length 0") }
    guard length <= maximumLength else {
      throw WireError(.tooLong, "a frame of \(length) bytes is longer than the limit of \(maximumLength)")
    }
    guard buffer.readableBytes >= MessageCodec.headerLength + Int(length) else { return nil }
    buffer.moveReaderIndex(forwardBy: MessageCodec.headerLength)
    guard let body = buffer.readSlice(length: Int(length)) else { return nil }
    do { return .message(try MessageCodec.decodeBody(body)) } catch {
      guard isClient, let outline = MessageCodec.outline(of: body) else { throw error }
      return .unreadable(outline, error)
    }
  }

  /// At the end of the stream: what is left is a frame that was cut short.
  public mutating func decodeLast(buffer: inout ByteBuffer, seenEOF: Bool) throws -> Inbound? {
    try decode(buffer: &buffer)
  }

  /// The first bytes as a reader would want to see them: text where they are text, for it is often an error message.
  private static func preview(_ buffer: ByteBuffer) -> String {
    let bytes = buffer.readableBytesView.prefix(24)
    let printable = bytes.allSatisfy { (0x20..<0x7f).contains($0) || $0 == 0x0a || $0 == 0x0d }
    if printable { return "\"" + String(decoding: bytes.filter { $0 >= 0x20 }, as: UTF8.self) + "\"" }
    return bytes.prefix(8).map { String($0, radix: 16) }.joined(separator: " ")
  }
}

/// Encodes messages into frames.
public struct FrameEncoder: MessageToByteEncoder {
  /// What it takes.
  public typealias OutboundIn = Message
  /// An encoder; it keeps no state.
  public init() {}
  /// Appends `data` as a frame.
  public func encode(data: Message, out: inout ByteBuffer) {
    MessageCodec.encodeFrame(data, into: &out)
  }
}
