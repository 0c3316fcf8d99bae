// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import NIOCore
import NIOTestUtils
import Testing

@testable import FluxWire

/// What a broken or hostile peer may send.
@Suite struct HostileInputTests {
  private func decode(_ hex: String, limit: Int = 1 << 20) throws -> Inbound? {
    var decoder = FrameDecoder(expectsGreeting: false, maximumLength: limit)
    var bytes = try #require(ByteBuffer(hex: hex))
    return try decoder.decode(buffer: &bytes)
  }

  @Test(arguments: [
    ("HTTP instead of Flux", "485454502f312e3120343030", WireError.Code.frame),
    ("magic in network order", "ffee001200000001", .frame),
    ("a frame of length 0", "1200eeff00000000", .frame),
    ("a frame over the limit", "1200eeff7fffffff", .tooLong),
    ("a body too short", "1200eeff00000001ff", .message),
    ("wrong proto magic", "1200eeff00000015148f0108000000000000000000000000000000000000", .message),
    ("wrong version", "1200eeff00000015148e0208000000000000000000000000000000000000", .message),
    ("unknown type", "1200eeff00000015148e0103000000000000000000000000000000000000", .message),
    ("a topic that is not there", "1200eeff00000015148e0101010000000000000000000000000000000000", .message),
    ("bytes left over", "1200eeff0000001600148e0101000000000000000000000000000000000000", .message),
    (
      "a part longer than the frame", "1200eeff0000001aff7fffffff148e0101010000000000000000000000000000000000", .message
    ),
  ]) func refuses(_ name: String, _ hex: String, _ code: WireError.Code) throws {
    #expect { try decode(hex) } throws: { ($0 as? WireError)?.code == code }
  }

  @Test func waitsForTheRestOfAFrame() throws {
    let whole = VectorTests.frames[0].hex
    for length in stride(from: 0, to: whole.count, by: 2) { #expect(try decode(String(whole.prefix(length))) == nil) }
  }

  @Test func refusesTooManyRoutes() throws {
    var message = Message.request("a.b")
    message.routes = (0..<65).map { "r\($0)" }
    var bytes = ByteBuffer()
    MessageCodec.encodeBody(message, into: &bytes)
    #expect(throws: WireError.self) { try MessageCodec.decodeBody(bytes) }
    message.routes = (0..<64).map { "r\($0)" }
    bytes.clear()
    MessageCodec.encodeBody(message, into: &bytes)
    #expect(try MessageCodec.decodeBody(bytes) == message)
  }

  /// What is said to be too long is what is not taken.
  @Test func theLengthThatIsCountedIsThatWhichIsWritten() {
    for (routes, topic, payload) in [(0, 3, 0), (1, 254, 254), (64, 255, 255), (65, 1024, 70_000), (2, 1025, 1)] {
      var message = Message.request(String(repeating: "t", count: topic))
      message.routes = (0..<routes).map { String(repeating: "r", count: 191 + $0) }
      message.payload = ByteBuffer(repeating: 0, count: payload)
      for routes in [message.routes, nil] {
        message.routes = routes
        var bytes = ByteBuffer()
        MessageCodec.encodeBody(message, into: &bytes)
        #expect(MessageCodec.bodyLength(message) == bytes.readableBytes)
        #expect(MessageCodec.isWithinLimits(message) == ((try? MessageCodec.decodeBody(bytes)) != nil))
      }
    }
  }

  /// A client gets what others have sent; a server gets it from whoever has sent it.
  @Test func aClientSkipsAMessageThatItCannotTake() throws {
    var bytes = ByteBuffer(bytes: [0])
    var hostile = Message.request("a.b", matchTag: 9)
    hostile.routes = (0...MessageCodec.maximumRoutes).map { "r\($0)" }
    MessageCodec.encodeFrame(hostile, into: &bytes)
    let next = Message.request("c.d")
    MessageCodec.encodeFrame(next, into: &bytes)
    var client = FrameDecoder(expectsGreeting: true)
    #expect(try client.decode(buffer: &bytes) == .greeting(0))
    var serverBytes = bytes
    guard case .unreadable(let outline, _)? = try client.decode(buffer: &bytes) else {
      Issue.record("it was taken")
      return
    }
    #expect(outline.kind == .request && outline.matchTag == 9 && outline.topic == nil && outline.options.isEmpty)
    #expect(try client.decode(buffer: &bytes) == .message(next))
    var server = FrameDecoder(expectsGreeting: false)
    #expect(throws: WireError.self) { try server.decode(buffer: &serverBytes) }
  }

  /// An answer wraps what others have asked for: it may be deeper than a request.
  @Test func responsesMayBeDeeperThanRequests() throws {
    func payload(_ depth: Int) -> ByteBuffer {
      ByteBuffer(
        string: "{\"a\":" + String(repeating: "[", count: depth - 1) + String(repeating: "]", count: depth - 1) + "}\0")
    }
    for (kind, most) in [(Message.Kind.request, 64), (.response, 512), (.event, 512)] {
      #expect(try Message(kind: kind, topic: "a.b", payload: payload(most)).json() != nil)
      #expect(throws: WireError.self) { try Message(kind: kind, topic: "a.b", payload: payload(most + 1)).json() }
    }
  }

  /// However the stream is cut, the same messages come out.
  @Test func anyChunking() throws {
    let pairs = try VectorTests.frames.map { frame in
      (try #require(ByteBuffer(hex: frame.hex)), [Inbound.message(frame.expected)])
    }
    try ByteToMessageDecoderVerifier.verifyDecoder(inputOutputPairs: pairs) {
      FrameDecoder(expectsGreeting: false)
    }
  }

  @Test func greetingThenMessages() throws {
    var decoder = FrameDecoder(expectsGreeting: true)
    var bytes = try #require(ByteBuffer(hex: "00" + VectorTests.frames[1].hex))
    #expect(try decoder.decode(buffer: &bytes) == .greeting(0))
    #expect(try decoder.decode(buffer: &bytes) == .message(VectorTests.frames[1].expected))
  }

  @Test(arguments: ["{\"a\":1}", "[1]\0", "1\0", "{\"a\":\0", "\u{1}\0"]) func payloadsThatAreNotObjects(_ text: String)
  {
    var message = Message.request("a.b")
    message.payload = ByteBuffer(string: text)
    #expect { try message.json() } throws: { ($0 as? WireError)?.code == .payload }
  }

  /// Random bytes in a valid frame never do worse than throw; valid messages survive a round trip.
  @Test func randomBodies() throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<20_000 {
      var bytes = ByteBuffer()
      for _ in 0..<Int.random(in: 0...60, using: &random) {
        bytes.writeInteger(UInt8.random(in: 0...255, using: &random))
      }
      bytes.writeBytes([
        20, 0x8e, 1, [1, 2, 4, 8].randomElement(using: &random) ?? 1, UInt8.random(in: 0...255, using: &random),
      ])
      for _ in 0..<16 { bytes.writeInteger(UInt8.random(in: 0...255, using: &random)) }
      guard let message = try? MessageCodec.decodeBody(bytes) else { continue }
      var again = ByteBuffer()
      MessageCodec.encodeBody(message, into: &again)
      #expect(try MessageCodec.decodeBody(again) == message, "\(bytes.hex)")
    }
  }
}
