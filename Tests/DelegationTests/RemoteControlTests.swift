// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// What the owner asks of a job reaches its remote copy, once, in order, also over a lost connection.
@Suite struct RemoteControlTests {
  private func control(_ job: inout DelegatedJob, _ event: DelegatedJob.Event) -> [DelegatedJob.Control] {
    job.handle(event).compactMap { if case .control(_, MirrorTests.remote, let control) = $0 { control } else { nil } }
  }

  private static func urgency(_ value: Int64) -> DelegatedJob.Event {
    .origin(MirrorTests.entry("urgency", ["userid": 0, "urgency": .int(value)]))
  }

  @Test func urgencyIsForwarded() throws {
    var job = try MirrorTests.mirroring()
    _ = job.handle(.remote([.urgency(0), .urgency(16)]))
    #expect(control(&job, Self.urgency(0)) == [.urgency(0)])
    // It changes again while the target is told: the last word counts.
    #expect(control(&job, Self.urgency(31)) == [])
    #expect(control(&job, Self.urgency(20)) == [])
    #expect(control(&job, .controlled) == [.urgency(20)])
    #expect(control(&job, .controlled) == [])
  }

  /// A held job stays held there until its owner releases it here.
  @Test func aHeldJobIsNotReleased() throws {
    var job = try MirrorTests.mirroring()
    _ = job.handle(Self.urgency(0))
    #expect(control(&job, .remote([.urgency(0)])) == [])
    #expect(control(&job, Self.urgency(16)) == [.urgency(16)])
  }

  /// Whoever operates the target may change a job's urgency there; it is not changed back.
  @Test func theTargetsOwnChangesStay() throws {
    var job = try MirrorTests.mirroring()
    _ = job.handle(.remote([.urgency(0), .urgency(16)]))
    #expect(control(&job, .remote([.urgency(0)])) == [])
    #expect(control(&job, .remote([.urgency(5)])) == [])
  }

  @Test func updatesAreForwarded() throws {
    var job = try MirrorTests.running()
    let update = MirrorTests.entry("jobspec-update", ["attributes.system.duration": 60.0])
    #expect(control(&job, .origin(update)) == [.update(["attributes.system.duration": 60.0])])
    #expect(control(&job, .controlled) == [])
    let own = MirrorTests.entry("jobspec-update", ["attributes.system.exec.test.override": 1])
    #expect(control(&job, .origin(own)) == [])
  }

  /// What was changed before the submission is in the jobspec that is sent.
  @Test func earlierUpdatesTravel() throws {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: true, Submission(userID: 0, urgency: 16, time: 1)))
    _ = job.handle(.origin(MirrorTests.entry("jobspec-update", ["attributes.system.duration": 60.0])))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    _ = job.handle(.read(try MirrorTests.record([])))
    _ = job.handle(.chosen(MirrorTests.target))
    guard case .submit(_, let jobspec) = job.handle(.written).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(jobspec.duration == 60)
  }

  /// A change that waited for the one before is not sent after a cancellation: it might let a held copy go. Signals still reach what runs.
  @Test func nothingIsChangedAfterACancellation() throws {
    var job = try MirrorTests.running()
    _ = job.handle(.remote([.urgency(16)]))
    #expect(control(&job, Self.urgency(0)) == [.urgency(0)])
    #expect(control(&job, Self.urgency(30)) == [])
    #expect(
      job.handle(.origin(MirrorTests.cancel)).contains {
        if case .cancel(_, MirrorTests.remote, _) = $0 { true } else { false }
      })
    #expect(control(&job, .controlled) == [])
    #expect(control(&job, .cancelled) == [])
    let update = MirrorTests.entry("jobspec-update", ["attributes.system.duration": 60.0])
    #expect(control(&job, .origin(update)) == [])
    #expect(control(&job, .signal(9)) == [.signal(9)])
  }

  /// The release is lost with the connection: the target tells anew that the job is held, and it is released.
  @Test func aLostReleaseIsRepeated() throws {
    var job = try MirrorTests.mirroring()
    #expect(control(&job, .remote([.urgency(0)])) == [.urgency(16)])
    _ = job.handle(.uncontrolled(TargetFailure("down", isTransient: true)))
    _ = job.handle(.timer)
    _ = job.handle(.following)
    #expect(control(&job, .remote([.urgency(0)])) == [.urgency(16)])
  }

  /// What is looked up and what comes in the meantime overlap: a job that is told twice to be held is released.
  @Test func toldTwice() throws {
    var job = try MirrorTests.mirroring()
    #expect(control(&job, .remote([.urgency(0), .urgency(0)])) == [.urgency(16)])
    #expect(control(&job, .controlled) == [])
  }

  @Test func signalsWaitForALostTarget() throws {
    var job = try MirrorTests.running()
    #expect(control(&job, .signal(10)) == [.signal(10)])
    #expect(control(&job, .uncontrolled(TargetFailure("down", isTransient: true))) == [])
    #expect(control(&job, .signal(12)) == [])
    _ = job.handle(.timer)
    #expect(control(&job, .following) == [.signal(10)])
    #expect(control(&job, .controlled) == [.signal(12)])
  }

  @Test func signalsAreBounded() throws {
    var job = try MirrorTests.mirroring()
    _ = job.handle(.lost(TargetFailure("down", isTransient: true)))
    for _ in 0..<RemoteControl.maximumSignals { #expect(job.handle(.signal(10)) == []) }
    guard case .complain = job.handle(.signal(10)).first else {
      Issue.record("\(job.state)")
      return
    }
  }
}
