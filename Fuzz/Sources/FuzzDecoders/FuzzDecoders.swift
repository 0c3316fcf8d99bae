// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import NIOCore

/// The fuzzer's entry. The first byte chooses a decoder; the rest is its input. What decodes has to survive a round trip.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let start, count > 0 else { return 0 }
  let input = UnsafeBufferPointer(start: start + 1, count: count - 1)
  switch start[0] % 8 {
  case 0: frames(input)
  case 1: body(input)
  case 2: json(input)
  case 3:
    text(input) {
      try IDSet(parsing: $0).description
    } again: {
      try IDSet(parsing: $0).description
    }
  case 4: hostlist(input)
  case 5:
    text(input) {
      try JobID(parsing: $0).encoded(.f58)
    } again: {
      try JobID(parsing: $0).encoded(.f58)
    }
  case 6:
    text(input) {
      try FluxURI(parsing: $0).description
    } again: {
      try FluxURI(parsing: $0).description
    }
  default: documents(input)
  }
  return 0
}

/// A whole stream, as a connection decodes it.
private func frames(_ input: UnsafeBufferPointer<UInt8>) {
  var decoder = FrameDecoder(expectsGreeting: true, maximumLength: 1 << 16)
  var bytes = ByteBuffer(bytes: input)
  while let inbound = try? decoder.decode(buffer: &bytes) {
    if case .message(let message) = inbound { check(message) }
  }
}

private func body(_ input: UnsafeBufferPointer<UInt8>) {
  if let message = try? MessageCodec.decodeBody(ByteBuffer(bytes: input)) { check(message) }
}

private func check(_ message: Message) {
  var bytes = ByteBuffer()
  MessageCodec.encodeBody(message, into: &bytes)
  guard let again = try? MessageCodec.decodeBody(bytes), again == message else {
    fatalError("a message does not survive a round trip: \(message)")
  }
  _ = try? message.json()
  var client = RPCClient<Int>()
  _ = client.begin(streaming: true, 1)
  _ = client.receive(message)
}

private func json(_ input: UnsafeBufferPointer<UInt8>) {
  guard let value = try? JSON(parsing: input) else { return }
  let text = value.text
  guard let again = try? JSON(parsing: text), again.text == text else {
    fatalError("JSON does not survive a round trip: \(text)")
  }
}

private func text(
  _ input: UnsafeBufferPointer<UInt8>, _ parse: (String) throws -> String, again: (String) throws -> String
) {
  guard let text = String(validating: input, as: UTF8.self), let first = try? parse(text) else { return }
  guard let second = try? again(first), second == first else { fatalError("\(first) does not survive a round trip") }
}

/// Flux expands the first bracket of a name only, so a name may have brackets left, and a list of such names reads differently when
/// it is read again. Every list of names that a host could have survives a round trip.
private func hostlist(_ input: UnsafeBufferPointer<UInt8>) {
  guard let text = String(validating: input, as: UTF8.self), let list = try? Hostlist(parsing: text),
    list.allSatisfy({ $0.utf8.allSatisfy(isOfAName) })
  else { return }
  guard let again = try? Hostlist(parsing: list.description), again.hosts == list.hosts else {
    fatalError("\(list) does not survive a round trip")
  }
}

/// Letters, digits, `-`, `_` and `.`, as bytes: a combining character would hide a bracket.
private func isOfAName(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
    UInt8(ascii: "0")...UInt8(ascii: "9"),
    UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
    true
  default: false
  }
}

/// Everything that is read from a document of somebody else's.
private func documents(_ input: UnsafeBufferPointer<UInt8>) {
  guard let text = String(validating: input, as: UTF8.self) else { return }
  _ = try? Jobspec(parsing: text)
  _ = try? ResourceSet(parsing: text)
  _ = try? Eventlog(parsing: text)
  _ = try? SignedJobspec(parsing: text)
  _ = try? Dependency(parsing: text)
  _ = try? Constraint(parsingQuery: text)
  _ = try? StandardDuration(parsing: text)
}
