// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// The state machine, driven by hand.
@Suite struct DelegatedJobTests {
  static let target = "local:///b"
  static let remote = JobID(rawValue: 99)

  private static func entry(_ name: String, _ context: JSONObject? = nil, at time: Double = 1) -> EventlogEntry {
    EventlogEntry(timestamp: time, name: name, context: context)
  }

  private static let submit = entry("submit", ["userid": 0, "urgency": 20, "flags": 0, "version": 1])
  private static let held = entry("dependency-add", ["description": "delegated"])
  private static let validate = entry("validate")
  private static let cancel = entry("exception", ["type": "cancel", "severity": 0, "note": "", "userid": 0])

  private static func record(_ events: [EventlogEntry], dependency: String = target) throws -> JobRecord {
    let jobspec = try Jobspec(
      parsing: #"""
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"per_slot":1}}],
        "attributes":{"system":{"duration":0,"environment":{"A":"b"},
        "dependencies":[{"scheme":"afterok","value":"1"},{"scheme":"delegate","value":"\#(dependency)"}]}}}
        """#)
    return JobRecord(id: JobID(rawValue: 7), userID: 0, urgency: 20, jobspec: jobspec, eventlog: events)
  }

  private func new() -> DelegatedJob {
    DelegatedJob(id: JobID(rawValue: 7), origin: "host:local:///a", limits: MirrorTests.limits)
  }

  /// A machine that has just submitted.
  private func submitting() throws -> DelegatedJob {
    var job = new()
    #expect(job.handle(.discovered(isNew: true)) == [])
    #expect(job.handle(.origin(Self.held)) == [])
    #expect(job.handle(.origin(Self.validate)) == [.read(nil)])
    _ = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate])))
    #expect(job.state == .submitting)
    return job
  }

  @Test func handsOff() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: true))
    _ = job.handle(.origin(Self.validate))
    let actions = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate])))
    guard case .submit(let uri, let jobspec) = try #require(actions.first) else {
      Issue.record("\(actions)")
      return
    }
    #expect(uri.description == Self.target)
    #expect(jobspec.dependencies.isEmpty, "dependencies and the request do not travel")
    #expect(jobspec.environment["A"] == "b", "the environment does")
    #expect(
      Mark(jobspec: jobspec.json) == Mark(origin: "host:local:///a", id: JobID(rawValue: 7), submitted: 1, attempt: 1))
    #expect(job.handle(.accepted(Self.remote)) == [.post(name: "delegated", context: ["jobid": 99])])
    // Only what is on record may run: it was submitted held.
    let released = job.handle(.written)
    #expect(released == [.control(FluxURI(local: "/b"), Self.remote, .urgency(20))])
    #expect(
      job.handle(.controlled) == [
        .raise(
          type: "DelegationSuccess", severity: 0,
          note: "\(Self.target) has accepted the job as \(Self.remote)")
      ])
    #expect(job.handle(.written) == [.forget])
    #expect(job.state == .ended)
  }

  @Test func waitsForOtherDependencies() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: true))
    _ = job.handle(.origin(Self.entry("dependency-add", ["description": "afterok=f1"])))
    #expect(job.handle(.origin(Self.validate)) == [])
    #expect(job.state == .waiting)
    #expect(job.handle(.origin(Self.entry("dependency-remove", ["description": "afterok=f1"]))) == [.read(nil)])
  }

  /// A removal that overtakes the record which still shows the dependency must not be lost.
  @Test func anEventMayOvertakeTheRecord() throws {
    var job = new()
    #expect(job.handle(.discovered(isNew: false)) == [.read(nil)])
    _ = job.handle(.origin(Self.entry("dependency-remove", ["description": "afterok=f1"])))
    let added = Self.entry("dependency-add", ["description": "afterok=f1"])
    let actions = job.handle(.read(try Self.record([Self.submit, added, Self.validate])))
    #expect(job.state == .looking, "\(actions)")
  }

  @Test func aRejectionCarriesTheTargetsWords() throws {
    var job = try submitting()
    let actions = job.handle(.rejected("no such queue"))
    #expect(
      actions == [
        .raise(
          type: "DelegationFailure", severity: 0, note: "\(Self.target): the target rejects the job: no such queue")
      ])
    #expect(job.handle(.written) == [.forget])
  }

  // MARK: After a crash

  @Test func aJobOfAnEarlierAgentIsLookedForFirst() throws {
    var job = new()
    #expect(job.handle(.discovered(isNew: false)) == [.read(nil)])
    let actions = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate])))
    guard case .look = actions.first else {
      Issue.record("\(actions)")
      return
    }
    #expect(job.handle(.found(Self.remote)) == [.post(name: "delegated", context: ["jobid": 99])])
  }

  @Test func aJobThatIsNotThereIsSubmitted() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    _ = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate])))
    _ = job.handle(.found(nil))
    #expect(job.state == .submitting)
  }

  /// Whether an earlier agent has released it is not on record: doing it twice does no harm.
  @Test func aRecordedDelegationIsReleasedAndConcluded() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    let delegated = Self.entry("delegated", ["jobid": 99])
    let actions = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate, delegated])))
    #expect(actions == [.control(FluxURI(local: "/b"), Self.remote, .urgency(20))])
    guard case .raise("DelegationSuccess", 0, _) = job.handle(.controlled).first else {
      Issue.record("\(job.state)")
      return
    }
  }

  /// A copy that the target does not know any more has not been handed over.
  @Test func aCopyThatIsForgottenIsNoSuccess() throws {
    for isCancelled in [false, true] {
      var job = new()
      _ = job.handle(.discovered(isNew: false))
      let delegated = Self.entry("delegated", ["jobid": 99])
      _ = job.handle(.read(try Self.record([Self.submit, Self.held, Self.validate, delegated])))
      if isCancelled {
        _ = job.handle(.origin(Self.cancel))
      }
      let actions = job.handle(.forgotten("unknown job"))
      if isCancelled {
        guard case .cancel(_, Self.remote, _)? = actions.first else {
          Issue.record("\(actions)")
          continue
        }
      } else {
        guard case .raise("DelegationFailure", 0, let note)? = actions.first else {
          Issue.record("\(actions)")
          continue
        }
        #expect(note.contains("does not know \(Self.remote) any more") && note.hasSuffix("unknown job"))
      }
    }
  }

  /// Cancelled while its copy is being released: the copy goes.
  @Test func cancelledWhileItIsReleased() throws {
    var job = try submitting()
    _ = job.handle(.accepted(Self.remote))
    _ = job.handle(.written)
    #expect(job.handle(.origin(Self.cancel)) == [])
    #expect(job.handle(.gone) == [])
    guard case .cancel(_, Self.remote, _) = job.handle(.uncontrolled(TargetFailure("down", isTransient: true))).first
    else {
      Issue.record("\(job.state)")
      return
    }
  }

  @Test func aLostAnswerIsLookedForAndNeverSentAgainBlindly() throws {
    var job = try submitting()
    #expect(job.handle(.unanswered(TargetFailure("lost", isTransient: true))) == [.pause(1)])
    let actions = job.handle(.timer)
    guard case .look = actions.first else {
      Issue.record("\(actions)")
      return
    }
    // As long as the target cannot be asked the job is held, with the reason, for ever.
    for _ in 0..<100 {
      let pause = job.handle(.unreachable(TargetFailure("down", isTransient: false)))
      guard case .pause(let seconds) = pause.first, seconds <= 60 else {
        Issue.record("\(pause)")
        return
      }
      #expect(job.reason == "down")
      _ = job.handle(.timer)
    }
    #expect(job.state == .looking)
  }

  // MARK: Targets that cannot be reached

  @Test func aPermanentFailureEndsTheJobAtOnce() throws {
    var job = try submitting()
    #expect(
      job.handle(.unreachable(TargetFailure("no socket", isTransient: false))) == [
        .raise(type: "DelegationFailure", severity: 0, note: "no socket")
      ])
  }

  @Test func aPassingFailureIsTriedThreeTimes() throws {
    var job = try submitting()
    let failure = DelegatedJob.Event.unreachable(TargetFailure("silent", isTransient: true))
    #expect(job.handle(failure) == [.pause(1)])
    _ = job.handle(.timer)
    #expect(job.handle(failure) == [.pause(2)])
    _ = job.handle(.timer)
    #expect(job.handle(failure) == [.raise(type: "DelegationFailure", severity: 0, note: "silent")])
  }

  // MARK: The owner cancels

  @Test func cancelledBeforeAnythingWasSent() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: true))
    #expect(job.handle(.origin(Self.cancel)) == [.release(DelegatedJob.Holds(), nil), .forget])
  }

  @Test func cancelledWhileTheTargetAnswers() throws {
    var job = try submitting()
    #expect(job.handle(.origin(Self.cancel)) == [])
    #expect(job.handle(.gone) == [])
    let actions = job.handle(.accepted(Self.remote))
    guard case .cancel(_, Self.remote, _) = actions.first else {
      Issue.record("\(actions)")
      return
    }
    // The target cannot be reached just now: the copy is cancelled when it can.
    #expect(job.handle(.unreachable(TargetFailure("down", isTransient: true))) == [.pause(1)])
    guard case .cancel = job.handle(.timer).first else {
      Issue.record("no second try")
      return
    }
    #expect(job.handle(.cancelled) == [.forget])
  }

  /// Its target stays away: after a while the job is gone from home, and its copy is cancelled when that is possible.
  @Test func cancelledAndTheTargetAway() throws {
    var job = try submitting()
    _ = job.handle(.origin(Self.cancel))
    _ = job.handle(.accepted(Self.remote))
    var released = 0
    for _ in 0..<10 {
      let actions = job.handle(.unreachable(TargetFailure("down", isTransient: true)))
      if actions.contains(.release(DelegatedJob.Holds(), nil)) { released += 1 }
      _ = job.handle(.timer)
    }
    #expect(released == 1)
    #expect(job.handle(.gone) == [])
    #expect(job.handle(.cancelled) == [.forget])
  }

  /// The owner's cancellation overtakes the hand-off's own end: the job is let go all the same.
  @Test func cancelledBesideItsSuccess() throws {
    var job = try submitting()
    _ = job.handle(.accepted(Self.remote))
    _ = job.handle(.written)
    _ = job.handle(.controlled)
    _ = job.handle(.origin(Self.cancel))
    let success = Self.entry("exception", ["type": "DelegationSuccess", "severity": 0, "note": "", "userid": 0])
    _ = job.handle(.origin(success))
    #expect(job.handle(.written) == [.release(DelegatedJob.Holds(), nil), .forget])
  }

  /// The owner's cancellation comes before the hand-off's own end, which the origin then refuses: the copy goes.
  @Test func cancelledBeforeItsSuccess() throws {
    var job = try submitting()
    _ = job.handle(.accepted(Self.remote))
    _ = job.handle(.written)
    _ = job.handle(.controlled)
    _ = job.handle(.origin(Self.cancel))
    guard case .cancel(_, Self.remote, _) = job.handle(.unwritten("job is inactive")).first else {
      Issue.record("the copy is left running: \(job.state)")
      return
    }
  }

  @Test func cancelledWhileItIsRecorded() throws {
    var job = try submitting()
    _ = job.handle(.accepted(Self.remote))
    _ = job.handle(.origin(Self.cancel))
    guard case .cancel = job.handle(.unwritten("job is inactive")).first else {
      Issue.record("the copy is left running")
      return
    }
  }

  @Test func cancelledAndTheAnswerLost() throws {
    var job = try submitting()
    _ = job.handle(.origin(Self.cancel))
    _ = job.handle(.unanswered(TargetFailure("lost", isTransient: true)))
    _ = job.handle(.gone)
    _ = job.handle(.timer)
    #expect(job.state == .looking)
    #expect(job.handle(.found(nil)) == [.forget])
  }

  // MARK: Events that do not fit

  @Test func lateAnswersChangeNothing() throws {
    var job = try submitting()
    let before = job.state
    for event in [DelegatedJob.Event.found(nil), .written, .cancelled, .unreadable("x", isGone: true), .timer] {
      for action in job.handle(event) {
        guard case .complain = action else {
          Issue.record("\(event) led to \(action)")
          return
        }
      }
      #expect(job.state == before)
    }
  }

  @Test func aRecordThatCannotBeReadIsReadAgain() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    #expect(job.handle(.unreadable("busy", isGone: false)) == [.pause(1)])
    #expect(job.handle(.timer) == [.read(nil)])
    // Named by the plugin, and not on record yet: an agent that attaches at that moment must not drop it.
    #expect(job.handle(.unreadable("unknown job id", isGone: true)) == [.pause(2)])
    #expect(job.handle(.timer) == [.read(nil)])
    #expect(job.handle(.gone) == [.forget])
  }
}
