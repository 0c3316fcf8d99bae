// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import NIOCore
import Testing

/// Streaming RPCs.
@Suite(.timeLimit(.minutes(10))) struct StreamTests {
  /// The payloads' numbers up to the stream's end.
  private func numbers(_ stream: RPCStream) async throws -> [Int64] {
    var numbers: [Int64] = []
    for try await message in stream { numbers.append(try message.json()?["n"]?.intValue ?? -1) }
    return numbers
  }

  private func part(_ number: Int64, of request: Message) -> Message {
    .response(to: request, payload: Message.payload(of: ["n": .int(number)]))
  }

  private func end(_ request: Message) -> Message { .response(to: request, errnum: Errnum.noData.rawValue) }

  @Test func theNormalEnd() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      #expect(request.topic == "a.watch" && request.options == .streaming && request.matchTag != 0)
      #expect(request.text == #"{"id":1}"# && request.detail == 2)
      try await session.send(part(1, of: request), part(2, of: request))
      try await session.send(part(3, of: request), end(request))
      try await session.answer(session.next())
    } client: { connection in
      try await #expect(numbers(connection.stream("a.watch", ["id": 1], node: 2)) == [1, 2, 3])
      try await connection.rpc("a.b")
    }
  }

  @Test func anErrorEndsIt() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      try await session.send(part(1, of: request))
      try await session.refuse(request, .notPermitted, "not yours")
    } client: { connection in
      var iterator = await connection.stream("a.watch").makeAsyncIterator()
      try await #expect(iterator.next() != nil)
      let error = await #expect(throws: RPCError.self) { try await iterator.next() }
      #expect(error == RPCError(errnum: 1, text: "not yours", topic: "a.watch"))
    }
  }

  @Test func aSingleAnswerEndsIt() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      var last = part(7, of: request)
      last.options = []
      try await session.send(last)
    } client: { connection in
      try await #expect(numbers(connection.stream("a.watch")) == [7])
    }
  }

  @Test func streamsSideBySide() async throws {
    try await Twin.withConnection { session in
      let first = try await session.next()
      let second = try await session.next()
      for number in 0..<50 { try await session.send(part(Int64(number), of: first), part(Int64(-number), of: second)) }
      try await session.send(end(second), end(first))
    } client: { connection in
      async let one = numbers(connection.stream("a.watch"))
      async let other = numbers(connection.stream("a.watch"))
      let both = try await [one, other].sorted { $0[1] > $1[1] }
      #expect(both == [Array(0..<50), (0..<50).map { -$0 }])
    }
  }

  @Test func theConsumerStopsEarly() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      try await session.send(part(1, of: request))
      let cancel = try await session.next()
      #expect(cancel.topic == "a.watch-cancel" && cancel.options == .noResponse && cancel.matchTag == 0)
      try #expect(cancel.json() == ["matchtag": .int(Int64(request.matchTag))])
      // What was on its way is dropped, and nobody else gets it.
      let next = try await session.next()
      #expect(next.matchTag != request.matchTag)
      try await session.send(part(2, of: request), end(request))
      try await session.send(part(3, of: next), end(next))
      try await session.answer(session.next(), ["ok": true])
    } client: { connection in
      for try await message in await connection.stream("a.watch", cancelTopic: "a.watch-cancel") {
        try #expect(message.json() == ["n": 1])
        break
      }
      try await #expect(numbers(connection.stream("a.watch")) == [3])
      try await #expect(connection.rpc("a.b") == ["ok": true])
    }
  }

  @Test func theConsumersTaskIsCancelled() async throws {
    let arrived = Signal()
    try await Twin.withConnection { session in
      let request = try await session.next()
      arrived.fire()
      let cancel = try await session.next()
      #expect(cancel.topic == "a.watch-cancel")
      try #expect(cancel.json() == ["matchtag": .int(Int64(request.matchTag))])
    } client: { connection in
      let task = Task { try await numbers(connection.stream("a.watch", cancelTopic: "a.watch-cancel")) }
      await arrived.wait()
      task.cancel()
      try await #expect(task.value == [])
      await connection.waitForClose()
    }
  }

  @Test func withoutACancelTopicNothingIsSent() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      try await session.send(part(1, of: request))
      let next = try await session.next()
      #expect(next.topic == "a.b")
      try await session.send(part(2, of: request))
      try await session.answer(next)
      await #expect(session.untilEnd() == [])
    } client: { connection in
      for try await _ in await connection.stream("a.watch") { break }
      try await connection.rpc("a.b")
    }
  }

  @Test func afterItsEndNothingIsCancelled() async throws {
    try await Twin.withConnection { session in
      try await session.send(end(session.next()))
      await #expect(session.untilEnd() == [])
    } client: { connection in
      try await #expect(numbers(connection.stream("a.watch", cancelTopic: "a.watch-cancel")) == [])
    }
  }

  @Test func moreThanTheLimitWaits() async throws {
    let cancelled = Signal()
    try await Twin.withConnection { session in
      let request = try await session.next()
      for number in 0..<10 { try await session.send(part(Int64(number), of: request)) }
      // Who has failed wants no more, and the service is told so.
      let cancel = try await session.next()
      #expect(cancel.topic == "a.watch-cancel")
      try #expect(cancel.json() == ["matchtag": .int(Int64(request.matchTag))])
      cancelled.fire()
      try await session.send(part(10, of: request), end(request))
      try await session.answer(session.next(), ["ok": true])
      await #expect(session.untilEnd() == [])
    } client: { connection in
      let stream = await connection.stream("a.watch", cancelTopic: "a.watch-cancel", buffering: .bounded(4))
      await cancelled.wait()
      try await #expect(connection.rpc("a.b") == ["ok": true])
      var received = 0
      let error = await #expect(throws: ConnectionError.self) { for try await _ in stream { received += 1 } }
      #expect(error?.code == .limit && error?.message.contains("a.watch") == true)
      #expect(received == 4)
      await #expect(connection.isActive)
    }
  }

  @Test func theConnectionIsLost() async throws {
    try await Twin.withConnection { session in
      try await session.send(part(1, of: session.next()))
    } client: { connection in
      var iterator = await connection.stream("a.watch").makeAsyncIterator()
      try await #expect(iterator.next() != nil)
      let error = await #expect(throws: ConnectionError.self) { try await iterator.next() }
      #expect(error?.code == .closed)
      var late = await connection.stream("a.watch").makeAsyncIterator()
      await #expect(throws: ConnectionError.self) { try await late.next() }
    }
  }
}
