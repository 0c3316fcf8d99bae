// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// What a target says costs home no more than so much, however much it is.
@Suite struct BoundTests {
  private static let long = String(repeating: "ä", count: 100_000)

  @Test func aFailureHasSoManyWords() {
    let failure = TargetFailure("b: " + Self.long, isTransient: true)
    #expect(failure.message.utf8.count <= 4096 && failure.message.hasSuffix("ä…"))
  }

  /// What became of an attempt is kept as it is on record.
  @Test func anAttemptHasSoManyWords() throws {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: true, Submission(userID: 0, urgency: 16, time: 1)))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    _ = job.handle(.read(try MirrorTests.record([], delegate: #""random""#)))
    _ = job.handle(.chosen(MirrorTests.target))
    _ = job.handle(.written)
    guard case .post("delegate::exception", let context) = job.handle(.rejected(Self.long)).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(context["note"]?.stringValue?.utf8.count ?? 0 <= 1000)
    _ = job.handle(.written)
    #expect(job.failures.count == 1 && job.failures[0].utf8.count <= 1000)
  }
}
