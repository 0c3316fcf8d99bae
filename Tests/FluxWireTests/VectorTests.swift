// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import NIOCore
import Testing

@testable import FluxWire

/// Frames that flux-core 0.88.0 wrote or read, as captured in the shared notes: they decode to what they say, and encode to the
/// same bytes.
@Suite struct VectorTests {
  struct Frame: Sendable, CustomStringConvertible {
    var name: String
    var hex: String
    var expected: Message
    var description: String { name }
  }

  static func text(_ string: String) -> ByteBuffer { ByteBuffer(string: string) }

  static let frames: [Frame] = [
    Frame(
      name: "request without route flag",
      hex:
        "1200eeff0000002f08617474722e676574107b226e616d65223a2273697a65227d00148e010103ffffffff00000000ffffffff00000001",
      expected: Message(
        kind: .request, detail: Message.anyNode, matchTag: 1, topic: "attr.get", payload: text("{\"name\":\"size\"}\0"))
    ),
    Frame(
      name: "request from libflux",
      hex:
        "1200eeff000000300008617474722e676574107b226e616d65223a2273697a65227d00148e01010bffffffff00000000ffffffff00000001",
      expected: .request("attr.get", ["name": "size"], matchTag: 1)),
    Frame(
      name: "response",
      hex:
        "1200eeff000000380008617474722e676574187b2276616c7565223a2231222c22666c616773223a317d00148e01020b0000000000000005"
        + "0000000000000001",
      expected: Message(
        kind: .response, userID: 0, roleMask: 5, matchTag: 1, routes: [], topic: "attr.get",
        payload: text("{\"value\":\"1\",\"flags\":1}\0"))),
    Frame(
      name: "error without text",
      hex: "1200eeff0000001f0008617474722e676574148e01020900000000000000050000000200000002",
      expected: Message(kind: .response, userID: 0, roleMask: 5, detail: 2, matchTag: 2, routes: [], topic: "attr.get")),
    Frame(
      name: "error with text",
      hex:
        "1200eeff00000053000c6e6f737563682e7468696e672f4e6f2073657276696365206d61746368696e67206e6f737563682e7468696e6720"
        + "6973207265676973746572656400148e01020b00000000000000050000002600000003",
      expected: Message(
        kind: .response, userID: 0, roleMask: 5, detail: 38, matchTag: 3, routes: [], topic: "nosuch.thing",
        payload: text("No service matching nosuch.thing is registered\0"))),
    Frame(
      name: "request with upstream flag",
      hex:
        "1200eeff0000002f08617474722e676574107b226e616d65223a2272616e6b227d00148e010113ffffffff000000000000000000000009",
      expected: Message(
        kind: .request, options: .upstream, detail: 0, matchTag: 9, topic: "attr.get",
        payload: text("{\"name\":\"rank\"}\0"))),
    Frame(
      name: "request with a route",
      hex:
        "1200eeff00000034036162630008617474722e676574107b226e616d65223a2272616e6b227d00148e01010bffffffff00000000ffffffff"
        + "0000004e",
      expected: Message(
        kind: .request, detail: Message.anyNode, matchTag: 0x4e, routes: ["abc"], topic: "attr.get",
        payload: text("{\"name\":\"rank\"}\0"))),
    Frame(
      name: "event with a route",
      hex:
        "1200eeff0000004c2430363334633730392d343365332d346663642d623134362d3865323964386564333936620007666f6f2e626172087b"
        + "2261223a317d00148e01040b00000000000000050000001500000000",
      expected: Message(
        kind: .event, userID: 0, roleMask: 5, detail: 21, routes: ["0634c709-43e3-4fcd-b146-8e29d8ed396b"],
        topic: "foo.bar", payload: text("{\"a\":1}\0"))),
    Frame(
      name: "streaming response",
      hex:
        "1200eeff0000007300176a6f622d696e666f2e6576656e746c6f672d7761746368447b226576656e74223a227b5c2274696d657374616d705c"
        + "223a313739353439363838332e373434343230332c5c226e616d655c223a5c2273746172745c227d5c6e227d00148e01024b0000000000000005"
        + "0000000000000003",
      expected: Message(
        kind: .response, options: .streaming, userID: 0, roleMask: 5, matchTag: 3, routes: [],
        topic: "job-info.eventlog-watch",
        payload: text("{\"event\":\"{\\\"timestamp\\\":1795496883.7444203,\\\"name\\\":\\\"start\\\"}\\n\"}\0"))),
    Frame(
      name: "cancel",
      hex:
        "1200eeff000000441e6a6f622d696e666f2e6576656e746c6f672d77617463682d63616e63656c0f7b226d61746368746167223a337d00148e"
        + "010107ffffffff00000000ffffffff00000000",
      expected: Message(
        kind: .request, options: .noResponse, detail: Message.anyNode, topic: "job-info.eventlog-watch-cancel",
        payload: text("{\"matchtag\":3}\0"))),
    Frame(
      name: "end of a stream",
      hex:
        "1200eeff0000002e00176a6f622d696e666f2e6576656e746c6f672d7761746368148e01024900000000000000050000003d00000003",
      expected: Message(
        kind: .response, options: .streaming, userID: 0, roleMask: 5, detail: 61, matchTag: 3, routes: [],
        topic: "job-info.eventlog-watch")),
    Frame(
      name: "streaming request",
      hex:
        "1200eeff000000401a6a6f622d6d616e616765722e6576656e74732d6a6f75726e616c0f7b2266756c6c223a66616c73657d00148e010143ff"
        + "ffffff00000000ffffffff00000002",
      expected: Message(
        kind: .request, options: .streaming, detail: Message.anyNode, matchTag: 2, topic: "job-manager.events-journal",
        payload: text("{\"full\":false}\0"))),
  ]

  @Test(arguments: frames) func decodes(_ frame: Frame) throws {
    var decoder = FrameDecoder(expectsGreeting: false)
    var bytes = try #require(ByteBuffer(hex: frame.hex))
    #expect(try decoder.decode(buffer: &bytes) == .message(frame.expected))
    #expect(bytes.readableBytes == 0)
  }

  @Test(arguments: frames) func encodes(_ frame: Frame) throws {
    var bytes = ByteBuffer()
    MessageCodec.encodeFrame(frame.expected, into: &bytes)
    #expect(bytes == ByteBuffer(hex: frame.hex))
  }

  /// Bodies that libflux's own flux_msg_encode wrote.
  static let bodies: [Frame] = [
    Frame(
      name: "control", hex: "148e010800ffffffff000000000000000100000002",
      expected: Message(kind: .control, detail: 1, matchTag: 2)),
    Frame(
      name: "request", hex: "0007666f6f2e626172037b7d00148e01010bffffffff00000000ffffffff00000000",
      expected: .request("foo.bar", [:])),
    Frame(
      name: "response", hex: "0007666f6f2e626172037b7d00148e01020bffffffff000000000000000000000000",
      expected: Message(kind: .response, routes: [], topic: "foo.bar", payload: text("{}\0"))),
    Frame(
      name: "error", hex: "0007666f6f2e626172056e6f706500148e01020bffffffff000000000000002600000000",
      expected: Message(kind: .response, detail: 38, routes: [], topic: "foo.bar", payload: text("nope\0"))),
    Frame(
      name: "event", hex: "0007666f6f2e626172037b7d00148e01040bffffffff000000000000000000000000",
      expected: Message(kind: .event, routes: [], topic: "foo.bar", payload: text("{}\0"))),
    Frame(
      name: "no payload", hex: "0003612e62148e010109ffffffff00000000ffffffff00000000", expected: .request("a.b")),
    Frame(
      name: "one route",
      hex:
        "2431313131313131312d323232322d333333332d343434342d3535353535353535353535350003612e62148e010109ffffffff00000000"
        + "ffffffff00000000",
      expected: Message(
        kind: .request, detail: Message.anyNode, routes: ["11111111-2222-3333-4444-555555555555"], topic: "a.b")),
  ]

  @Test(arguments: bodies) func bodiesRoundTrip(_ frame: Frame) throws {
    let bytes = try #require(ByteBuffer(hex: frame.hex))
    #expect(try MessageCodec.decodeBody(bytes) == frame.expected)
    var written = ByteBuffer()
    MessageCodec.encodeBody(frame.expected, into: &written)
    #expect(written == bytes)
  }

  @Test(arguments: [(254, "fe"), (255, "ff000000ff")]) func longPayloads(_ length: Int, _ prefix: String) throws {
    let payload = ByteBuffer(repeating: 0x61, count: length)
    let message = Message(kind: .request, detail: Message.anyNode, topic: "attr.get", payload: payload)
    var bytes = ByteBuffer()
    MessageCodec.encodeFrame(message, into: &bytes)
    let start = "1200eeff" + (length == 254 ? "0000011d" : "00000122") + "08617474722e676574" + prefix
    #expect(bytes.hex.hasPrefix(start))
    var decoder = FrameDecoder(expectsGreeting: false)
    #expect(try decoder.decode(buffer: &bytes) == .message(message))
  }

  @Test func acceptsTheLongFormForAShortPart() throws {
    let bytes = try #require(
      ByteBuffer(hex: "ff00000003612e62148e010101ffffffff00000000ffffffff00000000"))
    #expect(try MessageCodec.decodeBody(bytes).topic == "a.b")
  }
}

extension ByteBuffer {
  init?(hex: String) {
    var bytes: [UInt8] = []
    var rest = hex[...]
    while !rest.isEmpty {
      guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
      bytes.append(byte)
      rest = rest.dropFirst(2)
    }
    self.init(bytes: bytes)
  }

  var hex: String {
    readableBytesView.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }
}
