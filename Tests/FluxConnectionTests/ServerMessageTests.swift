// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import NIOCore
import Testing

/// What an instance sends without being asked: events and requests.
@Suite(.timeLimit(.minutes(10))) struct ServerMessageTests {
  @Test func eventsByPrefix() async throws {
    try await Twin.withConnection { session in
      for expected in ["foo", ""] {
        let request = try await session.next()
        try #expect(request.topic == "event.subscribe" && request.json() == ["topic": .string(expected)])
        try await session.answer(request)
      }
      for (index, topic) in ["foo.bar", "fox", "xfoo", "foobar", "foo"].enumerated() {
        try await session.send(
          Message(
            kind: .event, userID: 0, roleMask: 5, detail: UInt32(index), routes: ["24063470-43e3"], topic: topic,
            payload: Message.payload(of: ["a": 1])))
      }
    } client: { connection in
      let some = try await connection.events(prefix: "foo")
      let all = try await connection.events(prefix: "")
      var topics: [String] = []
      for await event in some {
        topics.append(event.topic ?? "")
        try #expect(event.json() == ["a": 1] && event.kind == .event)
      }
      // The twin has gone by now, which ends the sequences.
      #expect(topics == ["foo.bar", "foobar", "foo"])
      var count = 0
      for await _ in all { count += 1 }
      #expect(count == 5)
      for await _ in try await laterEvents(connection) { Issue.record("an event on a closed connection") }
    }
  }

  /// On a closed connection, a subscription fails.
  private func laterEvents(_ connection: FluxConnection) async throws -> AsyncStream<Message> {
    let error = await #expect(throws: ConnectionError.self) { try await connection.events(prefix: "x") }
    #expect(error?.code == .closed)
    return AsyncStream { $0.finish() }
  }

  @Test func aRefusedSubscription() async throws {
    try await Twin.withConnection { session in
      try await session.refuse(session.next(), .notPermitted, "no events for you")
      try await session.answer(session.next())
      await #expect(session.untilEnd() == [])
    } client: { connection in
      let error = await #expect(throws: RPCError.self) { try await connection.events(prefix: "foo") }
      #expect(error?.text == "no events for you")
      try await connection.rpc("a.b")
    }
  }

  /// Else the instance would go on sending for as long as the connection lasts.
  @Test func whoStopsListeningUnsubscribes() async throws {
    try await Twin.withConnection { session in
      try await session.answer(session.next())
      try await session.send(Message(kind: .event, topic: "foo.bar"))
      let request = try await session.next()
      #expect(request.topic == "event.unsubscribe" && request.options == .noResponse)
      try #expect(request.json() == ["topic": "foo"])
      await #expect(session.untilEnd() == [])
    } client: { connection in
      for await event in try await connection.events(prefix: "foo") {
        #expect(event.topic == "foo.bar")
        break
      }
    }
  }

  @Test func requestsAreRefused() async throws {
    try await Twin.withConnection { session in
      let own = try await session.next()
      try await session.send(.request("x.ping", options: .noResponse))
      var request = Message.request("x.ping", ["seq": 1], matchTag: 77)
      request.routes = ["second", "first"]
      try await session.send(request)
      let response = try await session.next()
      #expect(response.kind == .response && response.detail == Errnum.notImplemented.rawValue)
      #expect(response.matchTag == 77 && response.routes == ["second", "first"] && response.topic == "x.ping")
      try await session.answer(own)
      await #expect(session.untilEnd() == [])
    } client: { connection in
      try await connection.rpc("a.b")
    }
  }

  @Test func messagesWithoutMeaningAreIgnored() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      try await session.send(
        Message(kind: .control, detail: 1, matchTag: 2), Message(kind: .event),
        Message(kind: .response, matchTag: 4711, routes: [], topic: "a.b"), Message(kind: .response))
      try await session.answer(request, ["ok": true])
      // A second answer to the same request.
      try await session.answer(request, ["ok": false])
      try await session.answer(session.next(), ["ok": true])
    } client: { connection in
      for _ in 0..<2 { try await #expect(connection.rpc("a.b") == ["ok": true]) }
    }
  }
}
