// SPDX-License-Identifier: LGPL-3.0-only

import NIOCore
import Testing

@testable import FluxWire

/// What services say when they refuse.
@Suite struct RPCErrorTests {
  @Test func longWordsAreCut() throws {
    let long = String(repeating: "ä", count: 100_000)
    var response = Message(
      kind: .response, detail: 22, matchTag: 1, routes: [], topic: "a." + String(repeating: "b", count: 100_000))
    response.payload = Message.payload(text: long)
    let error = try #require(RPCError(response))
    #expect(error.text?.utf8.count ?? 0 <= 4096 && error.text?.hasSuffix("ä…") == true)
    #expect(error.topic.utf8.count <= 4096)
    response.payload = Message.payload(text: "no such job")
    #expect(RPCError(response)?.text == "no such job")
  }
}
