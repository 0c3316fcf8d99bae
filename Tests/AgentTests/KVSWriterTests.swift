// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Agent

/// How values get into home's KVS.
@Suite struct KVSWriterTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  /// Many large values make many commits, each about as large as one may be; a single one may be larger.
  @Test func aCommitHasSoManyBytes() async throws {
    let commits = Mutex<[(count: Int, bytes: Int)]>([])
    try await FakeInstance.with { request, peer in
      let payload = try request.json()
      let count = payload?["ops"]?.arrayValue?.count ?? 0
      commits.withLock { $0.append((count, payload?.text.utf8.count ?? 0)) }
      try await peer.answer(request, [:])
    } body: { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: Self.logger) { connection in
        let writer = KVSWriter(connection)
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in 0..<10 {
            let value = String(repeating: "x", count: number == 5 ? 2 << 20 : 200 << 10)
            group.addTask { try await writer.put("k\(number)", value) }
          }
          // All wait when the first commit begins.
          while await writer.count < 10 { try await Task.sleep(for: .milliseconds(2)) }
          group.addTask { await writer.run() }
          for _ in 0..<10 { try await group.next() }
          group.cancelAll()
        }
      }
    }
    let made = commits.withLock { $0 }
    #expect(made.map(\.count).reduce(0, +) == 10)
    #expect(made.allSatisfy { $0.count == 1 || $0.bytes <= (1 << 20) + 1024 }, "\(made)")
  }
}
