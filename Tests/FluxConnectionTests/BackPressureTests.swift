// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import NIOCore
import Synchronization
import Testing

/// Streams that stop reading while their consumer is slow.
@Suite(.timeLimit(.minutes(10))) struct BackPressureTests {
  private func part(_ number: Int, of request: Message, bytes: Int) -> Message {
    var payload = ByteBuffer()
    payload.writeInteger(UInt64(number))
    payload.writeRepeatingByte(0x20, count: bytes - 8)
    return .response(to: request, payload: payload)
  }

  private func end(_ request: Message) -> Message { .response(to: request, errnum: Errnum.noData.rawValue) }

  private func number(_ message: Message) -> Int {
    message.payload?.getInteger(at: message.payload?.readerIndex ?? 0, as: UInt64.self).map(Int.init) ?? -1
  }

  /// Waits until a count has not grown for a while.
  private func settle(_ count: Counter) async throws -> Int {
    var last = -1
    while count.value != last {
      last = count.value
      try await Task.sleep(for: .milliseconds(200))
    }
    return last
  }

  @Test func aSlowConsumerBoundsWhatIsRead() async throws {
    let sent = Counter()
    let total = 1024
    let size = 64 << 10
    try await Twin.withConnection { session in
      let request = try await session.next()
      for number in 0..<total {
        try await session.send(part(number, of: request, bytes: size))
        sent.increment()
      }
      try await session.send(end(request))
    } client: { connection in
      var iterator = await connection.stream("a.big", buffering: .pausing(8)).makeAsyncIterator()
      try await #expect(iterator.next().map(number) == 0)
      // 8 responses, and what sockets and channels hold by themselves.
      let buffered = try await settle(sent)
      #expect(buffered * size < 4 << 20, "\(buffered) responses were sent to a consumer that takes none")
      for expected in 1..<total { try await #expect(iterator.next().map(number) == expected) }
      try await #expect(iterator.next() == nil)
    }
  }

  @Test(arguments: [0, 1, 2, 3, 16]) func everythingArrivesInOrder(limit: Int) async throws {
    let total = 1000
    try await Twin.withConnection { session in
      let request = try await session.next()
      for number in 0..<total { try await session.send(part(number, of: request, bytes: 64)) }
      try await session.send(end(request))
      try await session.answer(session.next())
    } client: { connection in
      var numbers: [Int] = []
      for try await message in await connection.stream("a.many", buffering: .pausing(limit)) {
        numbers.append(number(message))
        if numbers.count % 500 == 1 { try await Task.sleep(for: .milliseconds(20)) }
      }
      #expect(numbers.elementsEqual(0..<total), "\(numbers.count) of \(total)")
      try await connection.rpc("a.b")
    }
  }

  @Test(arguments: [true, false]) func theLastOnesArriveWhilePaused(ends: Bool) async throws {
    let written = Signal()
    let went = Signal()
    try await Twin.withConnection { session in
      let request = try await session.next()
      // One write: it is read whole, and all but the first three are there when reading stops.
      var last = end(request)
      if !ends { last = .response(to: request, errnum: Errnum.notPermitted.rawValue) }
      try await session.send(
        part(0, of: request, bytes: 32), part(1, of: request, bytes: 32), part(2, of: request, bytes: 32),
        part(3, of: request, bytes: 32), part(4, of: request, bytes: 32), last)
      written.fire()
      await went.wait()
    } client: { connection in
      var iterator = await connection.stream("a.many", buffering: .pausing(2)).makeAsyncIterator()
      await written.wait()
      try await Task.sleep(for: .milliseconds(50))
      for expected in 0..<5 { try await #expect(iterator.next().map(number) == expected) }
      if ends {
        try await #expect(iterator.next() == nil)
      } else {
        await #expect(throws: RPCError.self) { try await iterator.next() }
      }
      went.fire()
    }
  }

  /// The peer's end of the connection is behind what waits, and is seen after it.
  @Test func theConnectionEndsWhilePaused() async throws {
    let total = 100
    try await Twin.withConnection { session in
      let request = try await session.next()
      try await session.send((0..<total).map { part($0, of: request, bytes: 1024) })
    } client: { connection in
      var numbers: [Int] = []
      let error = await #expect(throws: ConnectionError.self) {
        for try await message in await connection.stream("a.many", buffering: .pausing(4)) {
          if numbers.isEmpty { try await Task.sleep(for: .milliseconds(50)) }
          numbers.append(number(message))
        }
      }
      #expect(error?.code == .closed)
      #expect(numbers.elementsEqual(0..<total), "\(numbers.count) of \(total)")
    }
  }

  @Test func aConsumerThatGoesLetsTheOthersRead() async throws {
    try await Twin.withConnection { session in
      let first = try await session.next()
      let second = try await session.next()
      for number in 0..<100 {
        try await session.send(part(number, of: first, bytes: 32 << 10), part(number, of: second, bytes: 32))
      }
      try await session.send(end(first), end(second))
      try await session.answer(session.next(), ["ok": true])
    } client: { connection in
      let task = Task {
        for try await _ in await connection.stream("a.first", buffering: .pausing(1)) {
          try await Task.sleep(for: .seconds(3600))
        }
      }
      var numbers: [Int] = []
      for try await message in await connection.stream("a.second", buffering: .pausing(1)) {
        numbers.append(number(message))
        task.cancel()
      }
      #expect(numbers.elementsEqual(0..<100), "\(numbers.count)")
      try await #expect(connection.rpc("a.b") == ["ok": true])
    }
  }
}
