// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// A target that fails is followed by the next one; what was tried is on record.
@Suite struct FailoverTests {
  private static let second = Target(uri: FluxURI(local: "/c"), label: "c")
  private static let random = #"{"policy":"random","attempts":2}"#

  /// A machine of a policy whose first attempt is being submitted.
  private func submitting() throws -> DelegatedJob {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: true, Submission(userID: 0, urgency: 16, time: 1)))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    _ = job.handle(.read(try MirrorTests.record([], delegate: Self.random)))
    _ = job.handle(.chosen(MirrorTests.target))
    _ = job.handle(.written)
    #expect(job.state == .submitting)
    return job
  }

  private func excluded(_ actions: [DelegatedJob.Action]) -> Set<FluxURI>? {
    if case .choose(_, let tried, _) = actions.first { tried } else { nil }
  }

  @Test func aRejectionMovesTheJobOn() throws {
    var job = try submitting()
    let written = job.handle(.rejected("no such queue"))
    guard case .post("delegate::exception", let context) = written.first else {
      Issue.record("\(written)")
      return
    }
    #expect(context["attempt"] == 1 && context["label"] == "b")
    #expect(context["note"]?.stringValue?.contains("the target rejects the job: no such queue") == true)
    #expect(excluded(job.handle(.written)) == [MirrorTests.target.uri])
    #expect(
      job.handle(.chosen(Self.second)) == [
        .post(name: "delegate::select", context: ["attempt": 2, "uri": "local:///c", "label": "c"])
      ])
    guard case .submit(Self.second.uri, let jobspec) = job.handle(.written).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(Mark(jobspec: jobspec.json)?.attempt == 2)
    // The last attempt: the failure names them all.
    guard case .raise("DelegationFailure", 0, let note) = job.handle(.rejected("full")).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(
      note.hasPrefix("2 targets were tried: b: local:///b: the target rejects the job: no such queue; c: "), "\(note)")
  }

  @Test func anUnreachableTargetMovesTheJobOn() throws {
    var job = try submitting()
    let written = job.handle(.unreachable(TargetFailure("no socket", isTransient: false)))
    guard case .post("delegate::exception", _) = written.first else {
      Issue.record("\(written)")
      return
    }
    _ = job.handle(.written)
    guard
      case .raise("DelegationFailure", 0, "1 target was tried: b: no socket") = job.handle(.unchoosable("none")).first
    else {
      Issue.record("\(job.state)")
      return
    }
  }

  @Test func anAllocationExceptionMovesTheJobOn() throws {
    var job = try submitting()
    _ = job.handle(.accepted(MirrorTests.remote))
    _ = job.handle(.written)
    _ = job.handle(.following)
    // The answer to what is under way comes first: it would be taken for the next one's.
    #expect(!job.handle(.remote([.urgency(0), .exception(type: "alloc", note: "too big")])).contains { $0.isPost })
    let moved = job.handle(.written)
    #expect(moved.first == .unfollow(MirrorTests.target.uri, MirrorTests.remote))
    #expect(job.handle(.remote([.over])) == [], "late")
    #expect(excluded(job.handle(.written)) == [MirrorTests.target.uri])
  }

  /// The answer to what the first target was told comes when the second one has the job: it is not taken for the second one's.
  @Test func anAnswerOfTheAttemptBefore() throws {
    var job = try submitting()
    _ = job.handle(.accepted(MirrorTests.remote))
    _ = job.handle(.written)
    _ = job.handle(.following)
    _ = job.handle(.written)
    _ = job.handle(.remote([.urgency(0)]))
    _ = job.handle(.remote([.exception(type: "alloc", note: "too big")]))
    for event in [DelegatedJob.Event.written, .chosen(Self.second), .written, .accepted(MirrorTests.remote), .written] {
      _ = job.handle(event)
    }
    _ = job.handle(.following)
    #expect(job.handle(.remote([.urgency(0)])) == [])
    #expect(job.handle(.controlled) == [.control(Self.second.uri, MirrorTests.remote, .urgency(16))])
  }

  /// A copy that may be there is not abandoned: there would be two.
  @Test func anUnansweredSubmissionStays() throws {
    var job = try submitting()
    _ = job.handle(.unanswered(TargetFailure("lost", isTransient: true)))
    _ = job.handle(.timer)
    for _ in 0..<10 {
      _ = job.handle(.unreachable(TargetFailure("down", isTransient: false)))
      _ = job.handle(.timer)
    }
    #expect(job.state == .looking)
  }

  /// Another agent goes on with the attempt that is on record.
  @Test func takenOver() throws {
    let failed = MirrorTests.entry(
      "delegate::exception", ["attempt": 1, "uri": "local:///b", "label": "b", "note": "b: full"])
    let again = MirrorTests.entry("delegate::select", ["attempt": 2, "uri": "local:///c", "label": "c"])
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: false))
    var events = MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted, failed]
    #expect(
      excluded(job.handle(.read(try MirrorTests.record(events, delegate: Self.random)))) == [MirrorTests.target.uri])

    events.append(again)
    job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: false))
    guard
      case .look(Self.second.uri, let mark) = job.handle(.read(try MirrorTests.record(events, delegate: Self.random)))
        .first
    else {
      Issue.record("\(job.state)")
      return
    }
    #expect(mark.attempt == 2)
  }

  /// Who names one target gets that one or none.
  @Test func aNamedTargetHasNoAlternative() throws {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: true))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    _ = job.handle(.read(try MirrorTests.record(MirrorTests.submitted)))
    _ = job.handle(.chosen(MirrorTests.target))
    _ = job.handle(.written)
    guard case .raise("DelegationFailure", 0, _) = job.handle(.rejected("full")).first else {
      Issue.record("\(job.state)")
      return
    }
  }
}

extension DelegatedJob.Action {
  fileprivate var isPost: Bool { if case .post = self { true } else { false } }
}
