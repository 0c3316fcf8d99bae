// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// What the agent answers has a bound: who asks too much is refused, and nobody waits for it.
@Suite struct RefusalTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private static func request(_ number: UInt32, _ options: Message.Options = []) -> Message {
    var request = Message.request("x.jobs", [:], options: options)
    request.matchTag = number
    request.roleMask = 1
    return request
  }

  /// Runs a service with so many requests that it cannot answer, and one more.
  ///
  /// - Returns: the first response.
  private static func refusal(
    after count: Int, _ options: Message.Options = [],
    _ serve: @escaping @Sendable (FluxConnection, AsyncStream<Message>) async throws -> Void
  ) async throws -> Message? {
    let (responses, sink) = AsyncStream<Message>.makeStream()
    return try await FakeInstance.with { message, _ in
      if message.kind == .response { sink.yield(message) }
    } body: { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: logger) { origin in
        let (requests, source) = AsyncStream<Message>.makeStream()
        for number in 1...UInt32(count + 1) { source.yield(request(number, options)) }
        return await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await serve(origin, requests) }
          defer { group.cancelAll() }
          return await responses.first { _ in true }
        }
      }
    }
  }

  @Test func theAgentAnswersSoManyAtOnce() async throws {
    let response = try await Self.refusal(after: AgentService.maximumRequests) { origin, requests in
      // Nobody takes what it asks.
      let (inputs, sink) = AsyncStream<Agent.Input>.makeStream()
      let log = OriginLog(origin, fallback: Self.logger)
      let governor = TargetGovernor(sink: sink)
      let pool = TargetPool(
        configuration: .patient, origin: "here", probeTimeout: .seconds(600), log: log,
        governor: governor, sink: sink)
      let service = AgentService(
        origin: origin, settings: Settings(governor), pool: pool, governor: governor,
        drains: DrainRecord(origin, KVSWriter(origin), governor, log), log: log, sink: sink)
      await service.run(requests)
      withExtendedLifetime(inputs) {}
    }
    #expect(response?.detail == Errnum.busy.rawValue && response?.matchTag == 17)
    #expect(response?.text?.contains("16 requests already") == true)
  }

  @Test func aShellHasSoManyStreams() async throws {
    let response = try await FakeInstance.with { _, _ in
    } body: { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: Self.logger) { target in
        try await Self.refusal(after: ShellService.maximumStreams, .streaming) { origin, requests in
          let context: JSONObject = ["service": "1-shell-x", "leader-rank": 0]
          let entry = EventlogEntry(timestamp: 1, name: "shell.init", context: context)
          let shell = try #require(ShellService.Shell(entry))
          let log = OriginLog(origin, fallback: Self.logger)
          await ShellService(origin: origin, target: target, name: "x", log: log).run(requests, shell)
        }
      }
    }
    #expect(response?.detail == Errnum.again.rawValue && response?.matchTag == 65)
    #expect(response?.text?.contains("64 streams") == true)
  }

  /// What a client has open ends with it, and leaves room for others.
  @Test func theStreamsOfAClientEndWithIt() async throws {
    let streams = ClientStreams(2)
    let (first, gone) = try #require(streams.begin(["a"]))
    #expect(streams.begin(["b"]) != nil && streams.begin(["b"]) == nil)
    streams.drop(["a"])
    for await _ in gone {}
    streams.end(["a"], first)
    #expect(streams.begin(["b"]) != nil && streams.begin(["b"]) == nil)
  }

  private final class Inside: Sendable {
    private let number = Mutex(0)
    var count: Int { number.withLock { $0 } }
    func enter() { number.withLock { $0 += 1 } }
  }

  /// Those of one target that wait leave the others alone.
  @Test func aTargetHasAShare() async throws {
    let gates = TargetGates(4)
    let (hold, release) = AsyncStream<Never>.makeStream()
    let inside = Inside()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<6 {
        group.addTask {
          try await gates.run(FluxURI(local: "/a")) {
            inside.enter()
            for await _ in hold {}
          }
        }
      }
      while inside.count < 4 { try await Task.sleep(for: .milliseconds(2)) }
      try await gates.run(FluxURI(local: "/b")) { #expect(inside.count == 4) }
      release.finish()
      try await group.waitForAll()
    }
    #expect(inside.count == 6)
  }
}
