// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// A target that cannot be seen, or takes no jobs now.
@Suite struct PatienceTests {
  private static let lost = TargetFailure("b: gone", isTransient: true)
  private static let other = Target(uri: FluxURI(local: "/c"), label: "c")
  private static let anywhere = #"{"policy":"random","patience":"90s"}"#
  private static let atLeastOnce = #"{"policy":"random","delivery":"at-least-once","patience":90}"#
  private static let prolog = MirrorTests.entry("prolog-start", ["description": "delegate"])

  private func job(_ delegate: String, _ events: [EventlogEntry], start: Double = 0) throws -> DelegatedJob {
    var job = DelegatedJob(id: JobID(rawValue: 7), origin: "a", originStart: start)
    _ = job.handle(.discovered(isNew: false))
    _ = job.handle(.read(try MirrorTests.record(MirrorTests.submitted + events, delegate: delegate)))
    return job
  }

  private func names(_ actions: [DelegatedJob.Action]) -> [String] {
    actions.map { action in
      switch action {
      case .post(let name, _): name
      case .raise(let type, _, _): type
      default: "\(action)".prefix { $0.isLetter }.description
      }
    }
  }

  /// Sent, and no answer: a copy at the target is held, and never released unless it is on record.
  @Test func aHeldCopyIsLeftBehind() throws {
    var job = try job(Self.anywhere, [MirrorTests.selected])
    #expect(job.state == .looking)
    let first = job.handle(.unreachable(Self.lost))
    #expect(
      first.last == .awaitPatience(MirrorTests.target.uri, nil, patience: 90, isHeld: true, number: 0), "\(first)")
    // Over, but it is looked once more.
    #expect(names(job.handle(.impatient(0))) == ["look"])
    let reconsidered = job.handle(.unreachable(Self.lost))
    guard case .choose(_, [MirrorTests.target.uri], isReachable: true) = reconsidered.first else {
      Issue.record("\(reconsidered)")
      return
    }
    #expect(names(job.handle(.chosen(Self.other))) == ["delegate::exception"])
    let left = job.handle(.written)
    #expect(left.first == .sweep(MirrorTests.target.uri))
    #expect(names(left) == ["sweep", "delegate::select"])
    #expect(job.place == Self.other.uri)
    #expect(names(job.handle(.written)) == ["submit"])
  }

  /// An outage at home: no other target can be connected either, so the job stays where it is.
  @Test func nowhereElse() throws {
    var job = try job(Self.anywhere, [MirrorTests.selected])
    _ = job.handle(.unreachable(Self.lost))
    _ = job.handle(.impatient(0))
    _ = job.handle(.unreachable(Self.lost))
    let stays = job.handle(.deferred(""))
    #expect(names(stays).contains("awaitPatience"), "\(stays)")
    #expect(job.state == .pausing(.look))
    // The patience before means nothing any more.
    #expect(job.handle(.impatient(0)) == [])
    #expect(names(job.handle(.timer)) == ["look"])
    #expect(names(job.handle(.found(MirrorTests.remote))) == ["delegate::submit"])
  }

  /// What was released may run: only its owner can say that it may run twice.
  @Test func aReleasedCopyIsWaitedFor() throws {
    var job = try job(Self.anywhere, [MirrorTests.selected, MirrorTests.accepted])
    let lost = job.handle(.lost(Self.lost))
    guard case .awaitPatience(_, nil, patience: 90, isHeld: false, number: _) = lost[1] else {
      Issue.record("\(lost)")
      return
    }
  }

  /// An origin that has lost events may have released what it does not know of.
  @Test func anOriginThatWasRestartedKnowsLess() throws {
    var job = try job(Self.anywhere, [MirrorTests.selected], start: 100)
    #expect(names(job.handle(.found(nil))) == ["look"])
    let lost = job.handle(.unreachable(Self.lost))
    #expect(
      lost.contains(.awaitPatience(MirrorTests.target.uri, nil, patience: 90, isHeld: false, number: 0)), "\(lost)")
  }

  /// The target of a job that may run twice cannot be seen, for longer than its owner's patience, and another one is chosen.
  private func leave(_ job: inout DelegatedJob) throws {
    let lost = job.handle(.lost(Self.lost))
    var number: Int?
    if case .awaitPatience(_, .atLeastOnce, _, _, let awaited) = lost[1] { number = awaited }
    _ = job.handle(.impatient(try #require(number, "\(lost)")))
    _ = job.handle(.lost(Self.lost))
    _ = job.handle(.chosen(Self.other))
  }

  @Test func aRunningJobGoesElsewhere() throws {
    var job = try job(
      Self.atLeastOnce,
      [MirrorTests.selected, MirrorTests.accepted, Self.prolog, MirrorTests.alloc, MirrorTests.start])
    try leave(&job)
    #expect(names(job.handle(.written)) == ["sweep", "renew"])
    #expect(names(job.handle(.written)) == ["delegate::select"])
    #expect(names(job.handle(.written)) == ["submit"])
    _ = job.handle(.accepted(JobID(rawValue: 100)))
    _ = job.handle(.written)
    _ = job.handle(.following)
    // It has its resources: neither allocation nor start come again, and the output is copied from its beginning.
    let started = job.handle(.remote([.urgency(0), .urgency(16), .started(at: 9, MirrorTests.resources)]))
    #expect(
      started == [
        .store(MirrorTests.resources, isInherited: true), .copy(Self.other.uri, JobID(rawValue: 100), .rest),
      ])
  }

  /// An origin that was restarted has lost the event `alloc`, but not that the job has its prolog: the next attempt does not add a second one.
  @Test func aSecondAttemptKnowsOfTheProlog() throws {
    let begun = MirrorTests.entry("delegate::start", ["timestamp": 5.0])
    var job = try job(Self.atLeastOnce, [MirrorTests.selected, MirrorTests.accepted, begun, Self.prolog])
    try leave(&job)
    #expect(names(job.handle(.written)) == ["sweep", "delegate::select"])
    _ = job.handle(.written)
    _ = job.handle(.accepted(JobID(rawValue: 100)))
    _ = job.handle(.written)
    _ = job.handle(.following)
    _ = job.handle(.written)
    let started = job.handle(.remote([.urgency(0), .urgency(16), .started(at: 9, MirrorTests.resources)]))
    #expect(
      started.contains(.allocate(MirrorTests.resources, started: nil, isHeld: true, target: Self.other.name)),
      "\(started)")
  }

  /// Its agent dies in between: the next one empties the logs before it chooses.
  @Test func takenOverBetweenTwoAttempts() throws {
    let failed = MirrorTests.entry("delegate::exception", ["attempt": 1, "note": "b: it cannot be seen"])
    let events = [
      MirrorTests.selected, MirrorTests.accepted, Self.prolog, MirrorTests.alloc, MirrorTests.entry("depend"),
      MirrorTests.start, failed,
    ]
    var job = try job(Self.atLeastOnce, events)
    #expect(job.state == .renewing)
    #expect(names(job.handle(.written)) == ["choose"])
    // Nobody can take it: its end is ours to write.
    #expect(names(job.handle(.unchoosable("none"))) == ["DelegationFailure"])
    let end = job.handle(.written)
    guard case .release(_, WaitStatus(signal: 15), hasLogs: true) = end.first else {
      Issue.record("\(end)")
      return
    }
  }

  /// What has ended is not run again, whatever is missing of it.
  @Test func anEndedJobIsNotRunAgain() throws {
    var job = try job(
      Self.atLeastOnce,
      [MirrorTests.selected, MirrorTests.accepted, Self.prolog, MirrorTests.alloc, MirrorTests.start])
    _ = job.handle(.following)
    _ = job.handle(.remote([.started(at: 5, MirrorTests.resources), .finished(at: 6, WaitStatus(exit: 0))]))
    #expect(!names(job.handle(.lost(Self.lost))).contains("awaitPatience"))
  }

  // MARK: A target that takes no jobs

  @Test func aJobWaitsForItsTarget() throws {
    var job = try job(#""b""#, [])
    #expect(job.state == .choosing)
    let shown = job.handle(.deferred("b: drained"))
    #expect(shown == [.annotate(["delegate": ["waits": "b: drained"]])])
    #expect(job.reason == "b: drained")
    #expect(job.handle(.deferred("b: drained")) == [], "the same is shown once")
    #expect(names(job.handle(.admissible)) == ["choose"])
    _ = job.handle(.chosen(MirrorTests.target))
    #expect(job.reason == nil)
    _ = job.handle(.written)
    #expect(job.handle(.deferred("b: max-rate")) == [.annotate(["delegate": ["waits": "b: max-rate"]])])
    #expect(job.state == .queueing && job.place == MirrorTests.target.uri)
    #expect(names(job.handle(.admissible)) == ["submit"])
  }

  /// That it may go overtakes that it may not: it does not wait for a word that has been said.
  @Test func theEndOfARefusalOvertakesIt() throws {
    var job = try job(#""b""#, [])
    _ = job.handle(.chosen(MirrorTests.target))
    _ = job.handle(.written)
    #expect(job.handle(.admissible) == [])
    #expect(names(job.handle(.deferred("b: max-jobs"))) == ["submit"])
    // And only once.
    #expect(names(job.handle(.deferred("b: max-jobs"))) == ["annotate"])
    #expect(job.state == .queueing)
  }

  /// The target is connected again while another one is looked for: the job stays.
  @Test func backInSight() throws {
    var job = try job(
      Self.atLeastOnce,
      [MirrorTests.selected, MirrorTests.accepted, Self.prolog, MirrorTests.alloc, MirrorTests.start])
    guard case .awaitPatience(_, _, _, _, let number) = job.handle(.lost(Self.lost))[1] else { return }
    _ = job.handle(.impatient(number))
    _ = job.handle(.lost(Self.lost))
    #expect(job.handle(.reachable) == [])
    #expect(names(job.handle(.chosen(Self.other))) == ["follow"])
  }

  /// The target is seen while a step waits that the origin did not take: its output is copied when that is over.
  @Test func seenDuringAPauseOfTheOrigin() throws {
    var job = try MirrorTests.mirroring()
    _ = job.handle(.lost(Self.lost))
    _ = job.handle(.timer)
    _ = job.handle(.remote([.urgency(0)]))
    _ = job.handle(.remote([.started(at: 5, MirrorTests.resources)]))
    _ = job.handle(.unwritten("EAGAIN"))
    #expect(job.state == .pausing(.mirror(MirrorTests.remote)))
    _ = job.handle(.following)
    #expect(names(job.handle(.timer)).contains("allocate"))
    _ = job.handle(.written)
    #expect(names(job.handle(.origin(MirrorTests.start))) == ["store", "copy"])
  }

  /// The end of the origin is told before the record is read: what the owner wants is done all the same.
  @Test func theOriginEndsBeforeTheRecordIsRead() throws {
    for (delegate, expected) in [(#""b""#, true), (#"{"policy":"b","orphans":"keep"}"#, false)] {
      var job = DelegatedJob(id: JobID(rawValue: 7), origin: "a")
      _ = job.handle(.discovered(isNew: false))
      #expect(job.handle(.ending(nil)) == [])
      let record = try MirrorTests.record(
        MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted], delegate: delegate)
      let actions = job.handle(.read(record))
      #expect(names(actions).contains("cancelHere") == expected, "\(actions)")
    }
  }

  /// Nothing was sent: it is over at once.
  @Test(arguments: [false, true]) func cancelledWhileItWaits(_ isQueued: Bool) throws {
    var job = try job(#""b""#, [])
    if isQueued {
      _ = job.handle(.chosen(MirrorTests.target))
      _ = job.handle(.written)
    }
    _ = job.handle(.deferred("b: drained"))
    let cancel = MirrorTests.entry("exception", ["type": "cancel", "severity": 0, "note": "", "userid": 0])
    #expect(names(job.handle(.origin(cancel))) == ["release", "forget"])
  }

  /// Jobs that have lost the same target do not all ask at the same moment; a job's own pauses are always the same.
  @Test func pausesAreSpread() throws {
    func pauses(_ number: UInt64) throws -> [Double] {
      var job = DelegatedJob(id: JobID(rawValue: number), origin: "a")
      _ = job.handle(.discovered(isNew: false))
      var found: [Double] = []
      for _ in 0..<10 {
        if case .pause(let seconds) = job.handle(.unreadable("busy", isGone: false)).first { found.append(seconds) }
        _ = job.handle(.timer)
      }
      return found
    }
    let all = try (1...100).map { try pauses($0) }
    #expect(try pauses(1) == all[0])
    #expect(Set(all.map(\.[0])).count > 90)
    #expect(all.allSatisfy { (0.75...1.25).contains($0[0]) && (1.5...2.5).contains($0[1]) && $0[9] <= 60 })
    let mean = all.map(\.[0]).reduce(0, +) / 100
    #expect((0.95...1.05).contains(mean), "\(mean)")
  }

  // MARK: What the end says of the target

  /// An exception before the start ends the origin job at once: what it says of the target is told before.
  @Test func aFailureOfTheTargetIsToldAtOnce() throws {
    var job = try MirrorTests.mirroring()
    let told = job.handle(.remote([.exception(type: "exec", note: "no shell")]))
    #expect(told.last == .report(MirrorTests.target.uri, failure: "exec: no shell"), "\(told)")
    #expect(!names(job.handle(.remote([.finished(at: 6, WaitStatus(exit: 127)), .over]))).contains("report"))
  }

  /// Jobs' own doings, and cancellations, say nothing bad.
  @Test func whatIsNoFailureOfTheTarget() throws {
    for (type, status, expected) in [
      (nil, WaitStatus(exit: 3), ["report"]), ("timeout", WaitStatus(signal: 14), ["report"]),
      ("exec", WaitStatus(exit: 127), ["report"]), ("cancel", WaitStatus(signal: 15), []),
    ] as [(String?, WaitStatus, [String])] {
      var job = try MirrorTests.running()
      var events: [RemoteEvent] = type.map { [.exception(type: $0, note: "")] } ?? []
      events += [.finished(at: 6, status), .over]
      let reports = job.handle(.remote(events)).filter { if case .report = $0 { true } else { false } }
      #expect(
        names(reports) == expected && !reports.contains { $0 != .report(MirrorTests.target.uri, failure: nil) },
        "\(reports)")
    }
    var rejected = try MirrorTests.mirroring()
    #expect(
      !names(rejected.handle(.remote([.exception(type: "alloc", note: "unsatisfiable"), .over]))).contains("report"))
  }

  // MARK: The end of the origin

  @Test func theOriginEndsForGood() throws {
    var waiting = try job(#""b""#, [MirrorTests.selected, MirrorTests.accepted])
    _ = waiting.handle(.following)
    #expect(waiting.handle(.ending(nil)) == [.cancelHere(note: "this instance is being shut down")])
    // It was handed over long ago, or runs: the instance itself ends it.
    var running = try MirrorTests.running()
    #expect(running.handle(.ending(nil)) == [])
  }

  @Test(arguments: [#"{"policy":"b","orphans":"keep"}"#, #""b""#]) func orphansAreKept(_ delegate: String) throws {
    var job = try job(delegate, [MirrorTests.selected, MirrorTests.accepted])
    _ = job.handle(.following)
    #expect(job.handle(.ending(delegate.contains("keep") ? nil : .keep)) == [])
    let cancel = MirrorTests.entry("exception", ["type": "cancel", "severity": 0, "note": "", "userid": 0])
    #expect(names(job.handle(.origin(cancel))) == ["release", "discard", "forget"], "the copy is not cancelled")
  }

  // MARK: Strays

  @Test func whatWasLeftBehindIsCancelled() {
    let failed = MirrorTests.entry("delegate::exception", ["attempt": 1, "note": ""])
    let record = MirrorTests.submitted + [MirrorTests.selected, MirrorTests.accepted]
    let place = MirrorTests.target.uri
    func verdict(_ record: [EventlogEntry], at place: FluxURI, isHeld: Bool) -> StrayVerdict {
      StrayVerdict(MirrorTests.remote, at: place, isHeld: isHeld, record: record)
    }
    #expect(verdict(record, at: place, isHeld: false) == .unknown)
    #expect(verdict(record + [failed], at: place, isHeld: false) == .abandoned)
    // The same number at another target is another job.
    #expect(verdict(record, at: Self.other.uri, isHeld: true) == .second)
    // The event of a job that was handed over says no place: the choice before it does.
    let handed = MirrorTests.entry("delegated", ["jobid": MirrorTests.remote.json])
    let chosen = MirrorTests.submitted + [MirrorTests.selected, handed]
    #expect(verdict(chosen, at: place, isHeld: true) == .unknown)
    #expect(verdict(chosen, at: Self.other.uri, isHeld: true) == .second)
    let again = MirrorTests.submitted + [MirrorTests.selected, failed, Self.otherSelected, handed]
    #expect(verdict(again, at: Self.other.uri, isHeld: true) == .unknown)
    #expect(verdict(again, at: place, isHeld: true) == .second)
  }

  private static let otherSelected = MirrorTests.entry(
    "delegate::select", ["attempt": 2, "uri": .string(other.uri.description)])
}
