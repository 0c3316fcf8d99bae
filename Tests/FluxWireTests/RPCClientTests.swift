// SPDX-License-Identifier: LGPL-3.0-only

import Testing

@testable import FluxWire

/// Which request a response belongs to.
@Suite struct RPCClientTests {
  private func response(_ tag: UInt32, errnum: UInt32 = 0, streaming: Bool = false) -> Message {
    Message(
      kind: .response, options: streaming ? .streaming : [], detail: errnum, matchTag: tag, routes: [], topic: "a.b")
  }

  private func expect(
    _ action: RPCClient<String>.Action, _ expected: String, at location: SourceLocation = #_sourceLocation
  ) {
    let found = words(action)
    #expect(found == expected, sourceLocation: location)
  }

  private func words(_ action: RPCClient<String>.Action) -> String {
    switch action {
    case .resume(let handle, _): "resume \(handle)"
    case .yield(let handle, _): "yield \(handle)"
    case .finish(let handle, let message): "finish \(handle) \(message.detail)"
    case .event: "event"
    case .request: "request"
    case .ignore(let reason): reason == nil ? "ignore" : "ignore, odd"
    }
  }

  @Test func answersGoToTheirRequests() {
    var rpc = RPCClient<String>()
    let first = rpc.begin(streaming: false, "first") ?? 0
    let second = rpc.begin(streaming: false, "second") ?? 0
    #expect(first != second && first != 0 && second != 0)
    expect(rpc.receive(response(second)), "resume second")
    expect(rpc.receive(response(first, errnum: 2)), "resume first")
    expect(rpc.receive(response(first)), "ignore, odd")
    #expect(rpc.count == 0)
  }

  @Test func streamsEndWithTheirFirstError() {
    var rpc = RPCClient<String>()
    let tag = rpc.begin(streaming: true, "s") ?? 0
    expect(rpc.receive(response(tag, streaming: true)), "yield s")
    expect(rpc.receive(response(tag, streaming: true)), "yield s")
    expect(rpc.receive(response(tag, errnum: 61, streaming: true)), "finish s 61")
    expect(rpc.receive(response(tag, streaming: true)), "ignore, odd")
  }

  @Test func aGivenUpRequestKeepsItsTagUntilItsAnswer() {
    var rpc = RPCClient<String>()
    let tag = rpc.begin(streaming: true, "s") ?? 0
    let handles = [rpc.abandon(tag), rpc.abandon(tag)]
    #expect(handles == ["s", nil])
    expect(rpc.receive(response(tag, streaming: true)), "ignore")
    #expect(rpc.count == 1)
    expect(rpc.receive(response(tag, errnum: 61, streaming: true)), "ignore")
    #expect(rpc.count == 0)
  }

  @Test func closingNamesEverybodyWhoWaits() {
    var rpc = RPCClient<String>()
    _ = rpc.begin(streaming: false, "a")
    _ = rpc.begin(streaming: true, "b")
    let gone = rpc.begin(streaming: true, "c") ?? 0
    _ = rpc.abandon(gone)
    let waiting = rpc.close().sorted()
    #expect(waiting == ["a", "b"])
    #expect(rpc.count == 0)
  }

  @Test func otherMessages() {
    var rpc = RPCClient<String>()
    expect(rpc.receive(Message(kind: .event, topic: "x")), "event")
    expect(rpc.receive(.request("x.y")), "request")
    expect(rpc.receive(Message(kind: .control)), "ignore, odd")
  }
}
