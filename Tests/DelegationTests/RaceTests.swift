// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// Races that the simulation has found, each in its bad order.
@Suite struct RaceTests {
  private static let random = #"{"policy":"random","attempts":2}"#
  private static let second = Target(uri: FluxURI(local: "/c"), label: "c")

  /// A machine of another agent, with what is on record.
  private func takenOver(
    _ events: [EventlogEntry], delegate: String = #""b""#
  ) throws -> (job: DelegatedJob, actions: [DelegatedJob.Action]) {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: false))
    let actions = job.handle(.read(try MirrorTests.record(events, delegate: delegate)))
    return (job, actions)
  }

  // MARK: A second attempt

  /// What the origin job has got of a second attempt is known to another agent.
  @Test func aSecondAttemptThatRunsIsTakenOver() throws {
    let events =
      MirrorTests.submitted + [
        MirrorTests.selected, MirrorTests.accepted,
        MirrorTests.entry("delegate::exception", ["attempt": 1, "uri": "local:///b", "note": "b: too big"]),
        MirrorTests.entry("delegate::select", ["attempt": 2, "uri": "local:///c", "label": "c"]),
        MirrorTests.entry("delegate::submit", ["jobid": 100, "uri": "local:///c", "attempt": 2]),
        MirrorTests.entry("delegate::start", ["timestamp": 5.0]), MirrorTests.alloc, MirrorTests.start,
      ]
    var (job, actions) = try takenOver(events, delegate: Self.random)
    #expect(actions == [.follow(Self.second.uri, JobID(rawValue: 100))])
    _ = job.handle(.following)
    #expect(
      job.handle(.remote([.urgency(0), .urgency(16), .started(at: 5, MirrorTests.resources)])) == [
        .store(MirrorTests.resources, isInherited: true), .copy(Self.second.uri, JobID(rawValue: 100), .rest),
      ])
  }

  /// What has come while the target was lost is judged as what comes later: the next target is tried.
  @Test func anAllocationFailsWhileTheTargetIsLost() throws {
    var (job, _) = try takenOver(
      MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted], delegate: Self.random)
    _ = job.handle(.following)
    _ = job.handle(.remote([.urgency(0)]))
    _ = job.handle(.uncontrolled(TargetFailure("ENOSYS", isTransient: true)))
    #expect(job.handle(.remote([.urgency(16), .exception(type: "alloc", note: "too big"), .over])) == [])
    // The logs are ready meanwhile.
    _ = job.handle(.written)
    _ = job.handle(.timer)
    let actions = job.handle(.following)
    #expect(actions.contains(.unfollow(MirrorTests.target.uri, MirrorTests.remote)), "\(actions)")
    #expect(actions.contains { if case .post("delegate::exception", _) = $0 { true } else { false } }, "\(actions)")
    #expect(!actions.contains { if case .post("exception", _) = $0 { true } else { false } }, "\(actions)")
  }

  // MARK: A change of the owner's

  /// An owner's change that overtakes an older record counts.
  @Test func aChangeMayOvertakeTheRecord() throws {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: false))
    _ = job.handle(.origin(MirrorTests.entry("urgency", ["userid": 0, "urgency": 16])))
    var events = MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted]
    events[0] = MirrorTests.entry("submit", ["userid": 0, "urgency": 0, "flags": 0])
    _ = job.handle(.read(try MirrorTests.record(events)))
    _ = job.handle(.following)
    #expect(
      job.handle(.remote([.urgency(0)])) == [.control(MirrorTests.target.uri, MirrorTests.remote, .urgency(16))])
  }

  // MARK: The origin was restarted

  /// A choice is on record, and its target is not configured any more: the copy there is found all the same.
  @Test func aTargetThatIsNotConfiguredAnyMore() throws {
    var job = DelegatedJob(id: JobID(rawValue: 7), origin: "a", originStart: 1000)
    _ = job.handle(.discovered(isNew: false))
    let actions = job.handle(.read(try MirrorTests.record(MirrorTests.submitted + [MirrorTests.selected])))
    guard case .search = actions.first else {
      Issue.record("\(actions)")
      return
    }
    guard case .look(MirrorTests.target.uri, _) = job.handle(.found(nil)).first else {
      Issue.record("\(job.state)")
      return
    }
    guard case .post("delegate::submit", _) = job.handle(.found(MirrorTests.remote)).first else {
      Issue.record("\(job.state)")
      return
    }
  }

  /// The logs that an attempt has left are removed, though another one never came so far.
  @Test func theLogsOfAFailedAttemptAreRemoved() throws {
    var (job, _) = try takenOver(
      MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted], delegate: Self.random)
    _ = job.handle(.following)
    _ = job.handle(.written)
    _ = job.handle(.remote([.exception(type: "alloc", note: "too big"), .over]))
    _ = job.handle(.written)
    _ = job.handle(.unchoosable("no target is left"))
    #expect(job.handle(.written) == [.discard, .forget])
  }
}
