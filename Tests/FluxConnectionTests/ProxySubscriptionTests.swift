// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Testing

/// Subscriptions and services, which a proxy holds in its own name for its clients.
@Suite struct ProxySubscriptionTests {
  private var router = ProxyRouter()

  init() { for client in ["a", "b"] { router.connect(client) } }

  private func ask(_ topic: String, _ payload: JSON?, tag: UInt32 = 5, options: Message.Options = []) -> Message {
    var message = Message.request(topic, payload, matchTag: tag, options: options)
    message.routes = ["hop"]
    return message
  }

  /// What a client's request makes the proxy ask the instance; nil when it asks nothing.
  private func asked(_ actions: [ProxyRouter.Action]) -> Message? {
    guard actions.count == 1, case .upstream(let message)? = actions.first else { return nil }
    return message
  }

  /// The errnum with which client `route` is answered.
  private func answered(_ actions: [ProxyRouter.Action], _ route: String, tag: UInt32 = 5) -> UInt32? {
    guard actions.count == 1, case .client(route, let message)? = actions.first else { return nil }
    guard message.kind == .response, message.matchTag == tag, message.routes == ["hop"] else { return nil }
    return message.detail
  }

  private mutating func subscribe(_ route: String, _ topic: String) -> [ProxyRouter.Action] {
    router.receive(from: route, ask("event.subscribe", ["topic": .string(topic)]))
  }

  private mutating func unsubscribe(_ route: String, _ topic: String) -> [ProxyRouter.Action] {
    router.receive(from: route, ask("event.unsubscribe", ["topic": .string(topic)]))
  }

  /// Subscribes a client, and has the instance agree.
  private mutating func subscribeAndAgree(_ route: String, _ topic: String) throws {
    let actions = subscribe(route, topic)
    let request = try #require(asked(actions))
    let answer = router.receiveUpstream(.response(to: request))
    #expect(answered(answer, route) == 0)
  }

  private mutating func add(_ route: String, _ service: String) -> [ProxyRouter.Action] {
    router.receive(from: route, ask("service.add", ["service": .string(service)]))
  }

  private mutating func addAndAgree(_ route: String, _ service: String) throws {
    let actions = add(route, service)
    let request = try #require(asked(actions))
    #expect(request.topic == "service.add" && request.routes == [] && request.matchTag != 0)
    let answer = router.receiveUpstream(.response(to: request))
    #expect(answered(answer, route) == 0)
  }

  private func receivers(of topic: String) -> [String] {
    var router = router
    return router.receiveUpstream(Message(kind: .event, topic: topic)).map { action in
      if case .client(let route, _) = action { route } else { "upstream" }
    }
  }

  // MARK: Subscriptions

  @Test mutating func theFirstAndTheLastConcernTheInstance() throws {
    let request = try #require(asked(subscribe("a", "foo")))
    #expect(try request.topic == "event.subscribe" && request.json() == ["topic": "foo"])
    #expect(request.routes == [] && request.matchTag != 0)
    var agreement = Message.response(to: request)
    agreement.roleMask = 1
    #expect(answered(router.receiveUpstream(agreement), "a") == 0)
    // The second of another client, and the second of the same one.
    #expect(answered(subscribe("b", "foo"), "b") == 0)
    #expect(answered(subscribe("a", "foo"), "a") == 0)
    #expect(answered(unsubscribe("a", "foo"), "a") == 0)
    #expect(receivers(of: "foo.bar") == ["a", "b"])
    #expect(answered(unsubscribe("b", "foo"), "b") == 0)
    #expect(receivers(of: "foo.bar") == ["a"])
    let last = unsubscribe("a", "foo")
    #expect(last.count == 2)
    let end = try #require(asked(Array(last.prefix(1))))
    #expect(try end.topic == "event.unsubscribe" && end.json() == ["topic": "foo"] && end.routes == [])
    #expect(answered(Array(last.dropFirst()), "a") == 0)
    // The instance's answer to that is nobody's.
    #expect(router.receiveUpstream(.response(to: end)) == [])
    #expect(receivers(of: "foo.bar") == [])
    #expect(answered(unsubscribe("a", "foo"), "a") == Errnum.noEntry.rawValue)
    try subscribeAndAgree("b", "foo")
  }

  @Test mutating func eventsByPrefix() throws {
    try subscribeAndAgree("a", "foo")
    try subscribeAndAgree("b", "")
    try subscribeAndAgree("b", "foobar")
    #expect(receivers(of: "foobar") == ["a", "b"])
    #expect(receivers(of: "fo") == ["b"])
    let event = Message(kind: .event, detail: 21, routes: ["sender"], topic: "foo", payload: .init(string: "{}\0"))
    #expect(router.receiveUpstream(event) == [.client("a", event), .client("b", event)])
  }

  @Test mutating func aRefusedSubscription() throws {
    let request = try #require(asked(subscribe("a", "foo")))
    // It joins the one that is under way.
    _ = subscribe("b", "foo")
    let refusal = Message.response(to: request, errnum: Errnum.notPermitted.rawValue, payload: .init(string: "no\0"))
    let actions = router.receiveUpstream(refusal)
    #expect(answered(actions, "a") == Errnum.notPermitted.rawValue)
    if case .client(_, let message)? = actions.first { #expect(message.text == "no") }
    // Nobody is subscribed: the instance is told of no end, and is asked again.
    for client in ["a", "b"] {
      #expect(answered(unsubscribe(client, "foo"), client) == Errnum.noEntry.rawValue)
    }
    #expect(receivers(of: "foo") == [])
    try subscribeAndAgree("b", "foo")
  }

  @Test mutating func malformedRequests() {
    for topic in ["event.subscribe", "event.unsubscribe", "service.add", "service.remove"] {
      for payload: JSON? in [nil, [:], ["topic": 1, "service": 1]] {
        #expect(answered(router.receive(from: "a", ask(topic, payload)), "a") == Errnum.protocolError.rawValue)
        #expect(router.receive(from: "a", ask(topic, payload, options: .noResponse)) == [])
      }
    }
    #expect(router.disconnect("a") == [])
  }

  @Test mutating func subscriptionsEndWithTheirClient() throws {
    try subscribeAndAgree("a", "foo")
    try subscribeAndAgree("a", "bar")
    _ = subscribe("a", "foo")
    _ = subscribe("b", "bar")
    // Only what nobody else uses.
    let end = try #require(asked(router.disconnect("a")))
    #expect(try end.topic == "event.unsubscribe" && end.json() == ["topic": "foo"])
    #expect(receivers(of: "bar") == ["b"])
    let last = try #require(asked(router.disconnect("b")))
    #expect(try last.topic == "event.unsubscribe" && last.json() == ["topic": "bar"])
  }

  @Test mutating func quietSubscriptions() throws {
    let quiet = ask("event.subscribe", ["topic": "foo"], tag: 0, options: .noResponse)
    let request = try #require(asked(router.receive(from: "a", quiet)))
    #expect(request.options == [] && request.matchTag != 0)
    #expect(router.receiveUpstream(.response(to: request)) == [])
    #expect(receivers(of: "foo") == ["a"])
    #expect(router.receive(from: "b", quiet) == [])
    #expect(receivers(of: "foo") == ["a", "b"])
  }

  // MARK: Services

  @Test mutating func requestsForAService() throws {
    try addAndAgree("a", "mine")
    let request = ask("mine.do", ["x": 1], tag: 40)
    #expect(router.receiveUpstream(request) == [.client("a", request)])
    let response = Message.response(to: request)
    #expect(router.receive(from: "a", response) == [.upstream(response)])
    // One that nobody has.
    let other = ask("other.do", nil)
    #expect(router.receiveUpstream(other) == [.upstream(.response(to: other, errnum: Errnum.notImplemented.rawValue))])
    #expect(router.receiveUpstream(ask("other.do", nil, options: .noResponse)) == [])
  }

  @Test mutating func aNameHasOneOwner() throws {
    try addAndAgree("a", "mine")
    #expect(answered(add("b", "mine"), "b") == Errnum.exists.rawValue)
    #expect(answered(add("a", "mine"), "a") == Errnum.exists.rawValue)
    let theft = router.receive(from: "b", ask("service.remove", ["service": "mine"]))
    #expect(answered(theft, "b") == Errnum.noEntry.rawValue)
    let removal = try #require(asked(router.receive(from: "a", ask("service.remove", ["service": "mine"]))))
    #expect(removal.topic == "service.remove" && removal.routes == [])
    #expect(answered(router.receiveUpstream(.response(to: removal)), "a") == 0)
    try addAndAgree("b", "mine")
  }

  @Test mutating func aRefusedName() throws {
    let request = try #require(asked(add("a", "kvs")))
    let refusal = Message.response(to: request, errnum: Errnum.exists.rawValue)
    #expect(answered(router.receiveUpstream(refusal), "a") == Errnum.exists.rawValue)
    let other = ask("kvs.do", nil, options: .noResponse)
    #expect(router.receiveUpstream(other) == [])
    #expect(router.disconnect("a") == [])
  }

  @Test mutating func servicesEndWithTheirClient() throws {
    try addAndAgree("a", "mine")
    try addAndAgree("b", "other")
    let removal = try #require(asked(router.disconnect("a")))
    #expect(try removal.topic == "service.remove" && removal.json() == ["service": "mine"] && removal.routes == [])
    #expect(router.receiveUpstream(.response(to: removal)) == [])
    #expect(router.receiveUpstream(ask("mine.do", nil, options: .noResponse)) == [])
    try addAndAgree("b", "mine")
  }

  /// The instance agrees to a name when the client has gone already: it has to be given back.
  @Test mutating func aClientGoesWhileItsRequestsAreUnderWay() throws {
    let name = try #require(asked(add("a", "mine")))
    let subscription = try #require(asked(subscribe("a", "foo")))
    #expect(name.matchTag != subscription.matchTag)
    #expect(asked(router.disconnect("a"))?.topic == "event.unsubscribe")
    #expect(router.receiveUpstream(.response(to: subscription)) == [])
    let removal = try #require(asked(router.receiveUpstream(.response(to: name))))
    #expect(try removal.topic == "service.remove" && removal.json() == ["service": "mine"])
    #expect(receivers(of: "foo") == [])
  }
}
