// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Testing

/// Requests, responses and events of many clients on one connection.
@Suite struct ProxyRouterTests {
  private func router(_ clients: String...) -> ProxyRouter {
    var router = ProxyRouter()
    for client in clients { router.connect(client) }
    return router
  }

  private func request(
    _ topic: String, _ payload: JSON? = nil, tag: UInt32 = 1, routes: [String]? = [], options: Message.Options = []
  ) -> Message {
    var message = Message.request(topic, payload, matchTag: tag, options: options)
    message.routes = routes
    return message
  }

  @Test func requestsGetTheClientsRoute() {
    var router = router("a", "b")
    #expect(router.clientRoutes == ["a", "b"])
    let direct = request("x.y", ["n": 1], options: .streaming)
    #expect(
      router.receive(from: "a", direct) == [
        .upstream(request("x.y", ["n": 1], routes: ["a"], options: .streaming))
      ])
    // Without a route part at all, and from behind another proxy.
    #expect(router.receive(from: "b", request("x.y", routes: nil)) == [.upstream(request("x.y", routes: ["b"]))])
    #expect(
      router.receive(from: "b", request("x.y", routes: ["p", "q"])) == [
        .upstream(request("x.y", routes: ["b", "p", "q"]))
      ])
  }

  @Test func responsesGoToTheirClient() {
    var router = router("a", "b")
    // Both use the same tag.
    for client in ["a", "b"] { _ = router.receive(from: client, request("x.y", tag: 7)) }
    for (client, rest) in [("b", []), ("a", ["p", "q"]), ("a", [])] {
      let upstream = Message.response(
        to: request("x.y", tag: 7, routes: [client] + rest), payload: .init(string: client))
      var expected = upstream
      expected.routes = rest
      #expect(router.receiveUpstream(upstream) == [.client(client, expected)])
    }
  }

  @Test func responsesForNobody() {
    var router = router("a")
    #expect(router.receiveUpstream(.response(to: request("x.y", routes: ["gone"]))) == [])
    #expect(router.receiveUpstream(.response(to: request("x.y", tag: 99))) == [])
    #expect(router.receiveUpstream(.response(to: request("x.y", tag: 99, routes: nil))) == [])
    _ = router.receive(from: "a", request("x.y"))
    _ = router.disconnect("a")
    #expect(router.receiveUpstream(.response(to: request("x.y", routes: ["a"]))) == [])
  }

  @Test func unknownClients() {
    var router = router("a")
    #expect(router.receive(from: "z", request("x.y")) == [])
    #expect(router.disconnect("z") == [])
    #expect(router.disconnect("a") == [])
    #expect(router.receive(from: "a", request("x.y")) == [])
    #expect(router.clientRoutes == [])
  }

  @Test func messagesWithoutMeaning() {
    var router = router("a")
    #expect(router.receive(from: "a", Message(kind: .control)) == [])
    #expect(router.receive(from: "a", Message(kind: .control, topic: "x")) == [])
    #expect(router.receive(from: "a", Message(kind: .request)) == [])
    #expect(router.receiveUpstream(Message(kind: .control)) == [])
  }

  @Test func publishedEventsGoUpstream() {
    var router = router("a")
    let event = Message(kind: .event, topic: "my.news")
    #expect(router.receive(from: "a", event) == [.upstream(event)])
  }

  /// A path that is too deep for the instance would cost every client the connection.
  @Test func aPathThatIsTooDeep() {
    var router = router("a")
    let limit = MessageCodec.maximumRoutes
    let deepest = (1..<limit).map(String.init)
    #expect(
      router.receive(from: "a", request("x.y", routes: deepest)) == [
        .upstream(request("x.y", routes: ["a"] + deepest))
      ])
    let deeper = request("x.y", routes: deepest + ["more"])
    guard case .client("a", let answer)? = router.receive(from: "a", deeper).first else {
      Issue.record("no answer")
      return
    }
    #expect(answer.kind == .response && answer.detail == Errnum.hostUnreachable.rawValue)
    #expect(answer.routes == deeper.routes && answer.matchTag == deeper.matchTag)
    #expect(router.receive(from: "a", request("x.y", routes: deeper.routes, options: .noResponse)) == [])
  }

  // MARK: Clients that go

  @Test func servicesAreToldWhenAClientGoes() {
    var router = router("a", "b")
    var onUpstream = request("x.get", options: .upstream)
    onUpstream.detail = 0
    for message in [
      request("job-info.eventlog-watch"), request("job-info.lookup"), request("a.b.c"), request("ping"),
      request("x.get", options: .streaming), onUpstream,
    ] { _ = router.receive(from: "a", message) }
    _ = router.receive(from: "b", request("only.b"))
    // What wants no answer leaves nothing behind.
    _ = router.receive(from: "a", request("quiet.one", options: .noResponse))

    func told(_ topic: String, node: UInt32 = Message.anyNode, options: Message.Options = []) -> ProxyRouter.Action {
      var message = Message.request(topic, node: node, options: options.union(.noResponse))
      message.routes = ["a"]
      return .upstream(message)
    }
    #expect(
      router.disconnect("a") == [
        told("a.b.disconnect"), told("disconnect"), told("job-info.disconnect"),
        told("x.disconnect", node: 0, options: .upstream), told("x.disconnect"),
      ])
    #expect(router.clientRoutes == ["b"])
    #expect(router.disconnect("a") == [])
  }

  @Test func whoComesBackStartsAnew() {
    var router = router("a")
    _ = router.receive(from: "a", request("x.y"))
    _ = router.disconnect("a")
    router.connect("a")
    #expect(router.disconnect("a") == [])
  }

  @Test func quietRequestsAreForwarded() {
    var router = router("a")
    let quiet = request("x.y", tag: 0, options: .noResponse)
    #expect(
      router.receive(from: "a", quiet) == [
        .upstream(request("x.y", tag: 0, routes: ["a"], options: .noResponse))
      ])
    #expect(router.disconnect("a") == [])
  }
}
