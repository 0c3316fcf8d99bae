// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import EmbeddedFlux
import FluxConnection
import FluxJob
import Glibc
import Logging
import Targets
import Testing

/// What the journal of a target knows, on an instance in this process.
@Suite struct TargetJournalTests {
  private static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private static let mark = Mark(origin: "here", id: JobID(rawValue: 7), submitted: 1.5, attempt: 1)

  /// A held job with this origin's mark that nobody follows is named once it is old enough; again only after twice the time.
  @Test func straysAreNamed() async throws {
    let configuration = EmbeddedInstance.Configuration(name: "test", nodes: 1, coresPerNode: 1)
    try await EmbeddedInstance.withInstance(configuration, logger: Self.logger) { instance in
      try await FluxConnection.withConnection(to: instance.uri, configuration: .patient, logger: Self.logger) {
        connection in
        let id = try await Self.submit(connection)
        let journal = TargetJournal(connection, origin: Self.mark.origin)
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = await journal.run() }
          try await journal.waitUntilReady()
          #expect(await journal.strays(since: .seconds(60)).isEmpty)
          let strays = await journal.strays(since: .zero)
          #expect(strays.map(\.id) == [id] && strays.first?.mark == Self.mark && strays.first?.isHeld == true)
          #expect(await journal.strays(since: .seconds(60)).isEmpty)
          #expect(await journal.strays(since: .zero) == strays)
          group.cancelAll()
        }
      }
    }
  }

  private static func submit(_ connection: FluxConnection) async throws -> JobID {
    var jobspec = try Jobspec(
      Jobspec.Request(command: ["true"], environment: [("PATH", "/usr/bin:/bin")], cwd: "/tmp", dependencies: []))
    jobspec.set(attribute: "user.delegate", to: mark.json)
    let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
    let answer = try await connection.rpc("job-ingest.submit", ["J": .string(signed.text), "urgency": 0, "flags": 0])
    return try #require(JobID(answer["id"]))
  }
}
