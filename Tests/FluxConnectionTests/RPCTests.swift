// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import NIOCore
import Testing

/// Requests with one response.
@Suite(.timeLimit(.minutes(10))) struct RPCTests {
  @Test func success() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      #expect(request.kind == .request && request.topic == "attr.get" && request.options == [])
      #expect(request.routes == [] && request.matchTag != 0 && request.detail == 3)
      #expect(request.userID == Message.unknownUser && request.roleMask == 0)
      #expect(request.text == #"{"name":"size"}"#)
      try await session.answer(request, ["value": "4"])
      let bare = try await session.next()
      #expect(bare.payload == nil && bare.detail == Message.anyNode)
      try await session.answer(bare)
      await #expect(session.untilEnd() == [])
    } client: { connection in
      try await #expect(connection.rpc("attr.get", ["name": "size"], node: 3) == ["value": "4"])
      try await #expect(connection.rpc("a.b") == [:])
      await #expect(connection.isActive)
    }
  }

  @Test func errors() async throws {
    try await Twin.withConnection { session in
      try await session.refuse(session.next(), .noEntry, "no such thing as x")
      try await session.refuse(session.next(), .noEntry)
      try await session.refuse(session.next(), .noEntry, "")
    } client: { connection in
      for text in ["no such thing as x", nil, nil] {
        let error = await #expect(throws: RPCError.self) { try await connection.rpc("a.b") }
        #expect(error == RPCError(errnum: 2, text: text, topic: "a.b"))
        #expect(error?.description == text ?? "No such file or directory")
      }
    }
  }

  @Test func answersInAnotherOrder() async throws {
    let count = 100
    try await Twin.withConnection { session in
      var requests: [Message] = []
      for _ in 0..<count { requests.append(try await session.next()) }
      #expect(Set(requests.map(\.matchTag)).count == count)
      for request in requests.reversed() { try await session.answer(request, request.json()) }
    } client: { connection in
      try await withThrowingTaskGroup(of: Void.self) { group in
        for index in 0..<count {
          let payload: JSON = ["index": .int(Int64(index))]
          group.addTask { try await #expect(connection.rpc("a.b", payload) == payload) }
        }
        try await group.waitForAll()
      }
    }
  }

  @Test func aLateAnswerIsNobodys() async throws {
    try await Twin.withConnection { session in
      let late = try await session.next()
      let next = try await session.next()
      #expect(late.matchTag != next.matchTag)
      try await session.answer(late, ["late": true])
      try await session.answer(next, ["late": false])
      try await session.answer(session.next(), ["late": false])
    } client: { connection in
      let error = await #expect(throws: ConnectionError.self) {
        try await connection.rpc("slow.one", timeout: .milliseconds(50))
      }
      #expect(error?.code == .timedOut && error?.isTransient == true)
      #expect(error?.message.contains("slow.one within 0.05 s") == true, "\(error?.message ?? "")")
      for _ in 0..<2 { try await #expect(connection.rpc("a.b") == ["late": false]) }
    }
  }

  @Test func theConfiguredTimeoutAndNone() async throws {
    var configuration = FluxConnection.Configuration()
    configuration.requestTimeout = .milliseconds(50)
    try await Twin.withConnection(configuration) { session in
      _ = try await session.next()
      let patient = try await session.next()
      try await Task.sleep(for: .milliseconds(200))
      try await session.answer(patient, ["ok": true])
    } client: { connection in
      let error = await #expect(throws: ConnectionError.self) { try await connection.rpc("a.b") }
      #expect(error?.code == .timedOut)
      try await #expect(connection.rpc("a.b", timeout: .zero) == ["ok": true])
    }
  }

  @Test func cancellation() async throws {
    let arrived = Signal()
    try await Twin.withConnection { session in
      let cancelled = try await session.next()
      arrived.fire()
      let next = try await session.next()
      #expect(next.topic == "a.next" && next.matchTag != cancelled.matchTag)
      try await session.answer(cancelled, ["late": true])
      try await session.answer(next, ["late": false])
    } client: { connection in
      let task = Task { try await connection.rpc("a.b", timeout: .zero) }
      await arrived.wait()
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
      try await #expect(connection.rpc("a.next") == ["late": false])
    }
  }

  @Test func aCancelledTaskSendsNothing() async throws {
    try await Twin.withConnection { session in
      await #expect(session.untilEnd() == [])
    } client: { connection in
      let task = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        try await connection.rpc("a.b")
      }
      await #expect(throws: CancellationError.self) { try await task.value }
    }
  }

  @Test func thePeerEndsTheConnection() async throws {
    try await Twin.withConnection { session in
      for _ in 0..<10 { _ = try await session.next() }
    } client: { connection in
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<9 {
          group.addTask {
            let error = await #expect(throws: ConnectionError.self) { try await connection.rpc("a.b", timeout: .zero) }
            #expect(error?.code == .closed)
          }
        }
        group.addTask {
          let error = await #expect(throws: ConnectionError.self) {
            for try await _ in await connection.stream("a.stream") {}
          }
          #expect(error?.code == .closed)
        }
      }
      await connection.waitForClose()
      await #expect(!connection.isActive)
      let error = await #expect(throws: ConnectionError.self) { try await connection.rpc("a.b") }
      #expect(error?.code == .closed && error?.isTransient == true)
    }
  }

  @Test(arguments: [false, true]) func thisSideEndsTheConnection(fromOutside: Bool) async throws {
    let arrived = Signal()
    try await Twin.withConnection { session in
      _ = try await session.next()
      arrived.fire()
      await session.untilEnd()
    } client: { connection in
      let task = Task { try await connection.rpc("a.b", timeout: .zero) }
      await arrived.wait()
      if fromOutside { connection.cancel() } else { await connection.close() }
      let error = await #expect(throws: ConnectionError.self) { try await task.value }
      #expect(error?.code == .closed && error?.message.contains("by this side") == true)
    }
  }

  @Test(arguments: ["[1]\0", "7\0", "{}", "{\0", "\0", ""])
  func anAnswerThatIsNoObject(payload: String) async throws {
    try await Twin.withConnection { session in
      for _ in 0..<2 {
        try await session.send(.response(to: session.next(), payload: ByteBuffer(string: payload)))
      }
      try await session.answer(session.next(), ["still": "there"])
    } client: { connection in
      let error = await #expect(throws: ConnectionError.self) { try await connection.rpc("odd.one") }
      #expect(error?.code == .notFlux && error?.message.contains("odd.one") == true)
      // Raw payloads exist: they are there for who asks for them.
      try await #expect(connection.respond("odd.one").payload == ByteBuffer(string: payload))
      try await #expect(connection.rpc("a.b") == ["still": "there"])
    }
  }

  @Test func requestsThatWantNoAnswer() async throws {
    try await Twin.withConnection { session in
      let request = try await session.next()
      #expect(request.options == .noResponse && request.matchTag == 0 && request.detail == 5)
      #expect(request.topic == "a.b" && request.text == #"{"x":1}"#)
      let line = try await session.next()
      #expect(line.options == .noResponse && line.topic == "log.append" && line.text == "<14>1 words")
      #expect(line.payload?.readableBytes == 11)
    } client: { connection in
      await connection.notify("a.b", ["x": 1], node: 5)
      await connection.log(line: "<14>1 words")
    }
  }
}
