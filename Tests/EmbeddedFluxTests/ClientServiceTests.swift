// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import EmbeddedFlux

/// Services that clients register. What is expected here is what a Flux 0.88 was seen to answer.
@Suite struct ClientServiceTests {
  /// A broker with clients that keep what they are sent. On one event loop.
  private final class Bench {
    let broker: Broker
    private var inboxes: [String: [Message]] = [:]

    init(_ loop: any EventLoop) {
      broker = Broker(loop: loop, logger: InstanceTests.logger)
      broker.register("service", RegistrationService(broker))
    }

    func client() -> String {
      var name = ""
      let sink: Broker.Sink = { [unowned self] message in inboxes[name, default: []].append(message) }
      name = broker.addClient(userID: getuid(), sink) ?? ""
      return name
    }

    func take(_ client: String) -> [Message] { inboxes.removeValue(forKey: client) ?? [] }

    @discardableResult
    func ask(
      _ client: String, _ topic: String, _ payload: JSON? = nil, node: UInt32 = Message.anyNode,
      options: Message.Options = []
    ) -> Message? {
      broker.receive(.request(topic, payload, node: node, matchTag: 7, options: options), from: client)
      return inboxes[client]?.popLast()
    }

    func add(_ client: String, _ name: JSON?) -> UInt32? {
      ask(client, "service.add", name.map { ["service": $0] })?.detail
    }

    func remove(_ client: String, _ name: String) -> UInt32? {
      ask(client, "service.remove", ["service": .string(name)])?.detail
    }
  }

  private static func onLoop(_ body: @escaping @Sendable (Bench) throws -> Void) async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    try await loop.submit { try body(Bench(loop)) }.get()
  }

  @Test func registrationAnswersAsFluxDoes() async throws {
    try await Self.onLoop { bench in
      let (owner, other) = (bench.client(), bench.client())
      #expect(bench.add(owner, nil) == 71)
      #expect(bench.add(owner, 1) == 71)
      #expect(bench.add(owner, "a.b") == 22)
      #expect(bench.add(owner, "service") == 17)
      #expect(bench.add(owner, "svc") == 0)
      #expect(bench.add(owner, "svc") == 17)
      #expect(bench.add(other, "svc") == 17)
      #expect(bench.remove(other, "svc") == 2)
      #expect(bench.remove(owner, "unknown") == 2)
      #expect(bench.remove(owner, "service") == 2)
      #expect(bench.ask(owner, "service.foo")?.text == "Unknown service method 'service.foo'")
      #expect(bench.remove(owner, "svc") == 0)
      #expect(bench.add(other, "svc") == 0)
    }
  }

  @Test func requestsAndResponsesPassThrough() async throws {
    try await Self.onLoop { bench in
      let (owner, asker) = (bench.client(), bench.client())
      #expect(bench.add(owner, "svc") == 0)
      bench.ask(asker, "svc.a.b", ["x": 1], options: .streaming)
      let request = try #require(bench.take(owner).first)
      #expect(request.topic == "svc.a.b" && request.matchTag == 7 && request.roleMask == 5)
      #expect(request.options == .streaming && request.routes == [asker])
      #expect(try request.json() == ["x": 1])
      for errnum: UInt32 in [0, 61] {
        bench.broker.receive(.response(to: request, errnum: errnum), from: owner)
        let response = try #require(bench.take(asker).first)
        #expect(response.detail == errnum && response.matchTag == 7 && response.routes == [])
      }
      // What is no JSON is not looked at.
      var raw = Message.request("svc.raw", matchTag: 8)
      raw.payload = ByteBuffer(string: "no json")
      bench.broker.receive(raw, from: asker)
      #expect(bench.take(owner).first?.text == "no json")
    }
  }

  @Test func ranksAndTopics() async throws {
    try await Self.onLoop { bench in
      let (owner, asker) = (bench.client(), bench.client())
      #expect(bench.add(owner, "svc") == 0)
      #expect(bench.ask(asker, "svc.x", node: 9)?.detail == 113)
      #expect(bench.ask(asker, "svc.x", node: 0, options: .upstream)?.detail == 113)
      let bare = bench.ask(asker, "svc")
      #expect(bare?.detail == 38 && bare?.payload == nil)
      #expect(bench.take(owner).isEmpty)
      bench.ask(asker, "svc.x", node: 0)
      #expect(bench.take(owner).count == 1)
    }
  }

  /// One note for each prefix and rank that was asked, and none for requests that want no response.
  @Test func aRequesterThatGoesAwayIsReported() async throws {
    try await Self.onLoop { bench in
      let (owner, asker) = (bench.client(), bench.client())
      #expect(bench.add(owner, "svc") == 0)
      bench.ask(asker, "svc.n", options: .noResponse)
      bench.broker.removeClient(asker)
      #expect(bench.take(owner).map(\.topic) == ["svc.n"])

      let second = bench.client()
      for topic in ["svc.a", "svc.b", "svc.x.y"] { bench.ask(second, topic) }
      bench.ask(second, "svc.a", options: .streaming)
      bench.ask(second, "svc.a", node: 0)
      _ = bench.take(owner)
      bench.broker.removeClient(second)
      let notes = bench.take(owner)
      #expect(notes.map(\.topic) == ["svc.disconnect", "svc.x.disconnect", "svc.disconnect"])
      #expect(notes.allSatisfy { $0.options == .noResponse && $0.payload == nil && $0.routes == [second] })
    }
  }

  /// A service goes with its client. What was asked of it stays unanswered, as in Flux.
  @Test func aServiceGoesWithItsClient() async throws {
    try await Self.onLoop { bench in
      let (owner, asker) = (bench.client(), bench.client())
      #expect(bench.add(owner, "svc") == 0)
      bench.ask(asker, "svc.pending")
      bench.broker.removeClient(owner)
      #expect(bench.take(asker).isEmpty)
      #expect(bench.ask(asker, "svc.later")?.text == "No service matching svc.later is registered")
      #expect(bench.add(asker, "svc") == 0)
    }
  }

  /// What is passed on has one route more than it came with.
  @Test func anOwnerIsSentNothingThatItCannotTake() async throws {
    try await Self.onLoop { bench in
      let (owner, asker) = (bench.client(), bench.client())
      #expect(bench.add(owner, "svc") == 0)
      func ask(routes: Int, topic: String = "svc.x", payload: Int? = nil) -> UInt32? {
        var message = Message.request(topic, matchTag: 7)
        message.routes = (0..<routes).map { "r\($0)" }
        message.payload = payload.map { ByteBuffer(repeating: 0, count: $0) }
        bench.broker.receive(message, from: asker)
        return bench.take(asker).first?.detail
      }
      let most = MessageCodec.maximumRoutes
      #expect(ask(routes: most - 1) == nil)
      #expect(ask(routes: most) == Errnum.hostUnreachable.rawValue)
      let room = FrameDecoder.defaultMaximumLength - (1 + 6 + 5 + 21)
      #expect(ask(routes: 0, payload: room) == Errnum.overflow.rawValue)
      #expect(ask(routes: 0, payload: room - asker.utf8.count - 1) == nil)
      let topic = "svc." + String(repeating: "x", count: MessageCodec.maximumTopicLength - 6) + ".y"
      #expect(ask(routes: 0, topic: topic) == nil)
      bench.ask(asker, "svc.x")
      bench.broker.removeClient(asker)
      let received = bench.take(owner)
      #expect(
        received.map { $0.topic == topic ? "long" : $0.topic } == ["svc.x", "svc.x", "long", "svc.x", "svc.disconnect"])
      for message in received { #expect(throws: Never.self) { try Self.decode(message) } }
    }
  }

  private static func decode(_ message: Message) throws {
    var decoder = FrameDecoder(expectsGreeting: false)
    var bytes = ByteBuffer()
    MessageCodec.encodeFrame(message, into: &bytes)
    _ = try decoder.decode(buffer: &bytes)
  }

  /// One that comes without routes goes on with an empty stack of them, which is a byte.
  @Test func anEventThatNobodyCanTakeIsNotPublished() async throws {
    try await Self.onLoop { bench in
      let (subscriber, other) = (bench.client(), bench.client())
      try bench.broker.subscribe(subscriber, "")
      for excess in [0, 1] {
        let room = FrameDecoder.defaultMaximumLength - (1 + 4 + 5 + 21)
        let payload = ByteBuffer(repeating: 0, count: room + excess)
        bench.broker.receive(Message(kind: .event, topic: "a.b", payload: payload), from: other)
        #expect(bench.take(subscriber).count == 1 - excess)
      }
    }
  }

  @Test func services() async throws {
    var services = ClientServices()
    for number in 0..<ClientServices.maximumPerClient { try services.add("s\(number)", of: "a", isTaken: false) }
    #expect { try services.add("more", of: "a", isTaken: false) } throws: { ($0 as? ServiceError)?.errnum == .busy }
    try services.add("more", of: "b", isTaken: false)
    services.removeAll(of: "a")
    #expect(services.count == 1 && services.owner(of: "more") == "b")
  }
}
