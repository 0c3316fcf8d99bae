// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

@testable import EmbeddedFlux

/// Requests that one client sends, and others must not have to suffer for. Most were found by fuzzing the handlers.
@Suite struct HostileRequestTests {
  private static func nested(_ depth: Int) -> JSON { (1..<depth).reduce([:]) { inner, _ in ["a": inner] } }

  /// What follows a request is wrapped in answers: these are deeper than it.
  @Test func othersCanReadWhatIsNestedAsDeepAsARequestMayBe() async throws {
    try await InstanceTests.withInstance { _, connection in
      var jobspec = try InstanceTests.jobspec(["true"])
      jobspec.set(attribute: "attributes.user.x", to: Self.nested(61))
      let id = try await InstanceTests.submit(connection, jobspec, urgency: 0)
      try await connection.rpc("job-manager.memo", ["id": id.json, "memo": Self.nested(63)])
      _ = try await connection.rpc("job-list.list", ["attrs": ["all"], "max_entries": 0])
      _ = try await connection.rpc("job-manager.getattr", ["id": id.json, "attrs": ["jobspec", "eventlog"]])
      for try await response in await connection.stream("job-manager.events-journal", ["full": true]) {
        if try response.json()?["id"] == -1 { break }
      }
    }
  }
}
