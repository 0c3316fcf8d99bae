// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Logging
import TestSupport
import Testing

@testable import Agent

/// The connections to targets.
@Suite struct TargetPoolTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// How many of those that want a target at once get it, and how many are told why not.
  private static func ask(_ count: Int, script: @escaping FakeInstance.Script) async throws -> (got: Int, lost: Int) {
    try await FakeInstance.with(script: script) { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: logger) { origin in
        let (_, sink) = AsyncStream<Agent.Input>.makeStream()
        let pool = TargetPool(
          configuration: .patient, origin: "here", probeTimeout: .seconds(600),
          log: OriginLog(origin, fallback: logger), governor: TargetGovernor(sink: sink), sink: sink)
        return await withTaskGroup(of: Void.self) { group in
          group.addTask { await pool.run() }
          defer { group.cancelAll() }
          return await withTaskGroup(of: Bool.self) { jobs in
            for _ in 0..<count { jobs.addTask { (try? await pool.target(uri)) != nil } }
            return await jobs.reduce(into: (0, 0)) { if $1 { $0.0 += 1 } else { $0.1 += 1 } }
          }
        }
      }
    }
  }

  /// All that wait for a target are told of its connection, or why there is none.
  @Test func allThatWaitAreAnswered() async throws {
    let count = 2000
    let got = try await Self.ask(count) { request, peer in
      switch request.topic {
      case "attr.get": try await peer.answer(request, ["value": "1"])
      case "job-manager.events-journal": try await peer.answer(request, ["id": -1, "events": []])
      default: break
      }
    }
    #expect(got == (count, 0))
    let lost = try await Self.ask(count) { request, peer in try await peer.refuse(request, .notImplemented) }
    #expect(lost == (0, count))
  }
}
