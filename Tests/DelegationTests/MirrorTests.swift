// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// A mirrored job, driven by hand: from the choice to the end.
@Suite struct MirrorTests {
  static let remote = JobID(rawValue: 99)
  static let target = Target(uri: FluxURI(local: "/b"), label: "b")
  static let resources = RemoteResources(
    ResourceSet(
      ranks: [ResourceSet.Rank(rank: 0, host: "b0", cores: [0], gpus: [])], startTime: 0, expiration: 0, properties: [:]
    ))

  static func entry(_ name: String, _ context: JSONObject? = nil) -> EventlogEntry {
    EventlogEntry(timestamp: 1, name: name, context: context)
  }

  static let submitted = [
    entry("submit", ["userid": 0, "urgency": 16, "flags": 0, "version": 1]), entry("validate"),
  ]
  static let selected = entry("delegate::select", ["attempt": 1, "uri": "local:///b", "label": "b"])
  static let accepted = entry(
    "delegate::submit", ["jobid": 99, "label": "b", "uri": "local:///b", "attempt": 1])

  static func record(_ events: [EventlogEntry], delegate: String = #""b""#) throws -> JobRecord {
    let jobspec = try Jobspec(
      parsing: """
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"per_slot":1}}],
        "attributes":{"system":{"duration":0,"delegate":\(delegate)}}}
        """)
    return JobRecord(id: JobID(rawValue: 7), userID: 0, urgency: 16, jobspec: jobspec, eventlog: events)
  }

  /// Without jitter, so that pauses are what they are.
  static let limits = {
    var limits = DelegatedJob.Limits()
    limits.jitter = 0
    return limits
  }()

  static func new() -> DelegatedJob { DelegatedJob(id: JobID(rawValue: 7), origin: "a", limits: limits) }

  static let alloc = entry("alloc", ["bypass": true])
  static let start = entry("start")

  /// A machine whose remote job is followed.
  static func mirroring(_ done: [EventlogEntry] = []) throws -> DelegatedJob {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    let actions = job.handle(.read(try record(submitted + [selected, accepted] + done)))
    #expect(actions == [.follow(target.uri, remote)])
    if done.contains(where: { $0.name == "start" }) {
      #expect(job.handle(.following) == [])
    } else {
      #expect(job.handle(.following) == [.prepare])
      #expect(job.handle(.written) == [])
    }
    return job
  }

  /// A machine whose two jobs run.
  static func running() throws -> DelegatedJob {
    var job = try mirroring()
    _ = job.handle(.remote([.urgency(0), .urgency(16), .started(at: 5, resources)]))
    _ = job.handle(.written)
    #expect(job.handle(.origin(start)) == [.store(resources, isInherited: false), .copy(target.uri, remote, .new)])
    _ = job.handle(.stored)
    return job
  }

  @Test func theChoiceIsWrittenBeforeAnythingIsSent() throws {
    var job = Self.new()
    let submission = Submission(userID: 0, urgency: 16, time: 1)
    _ = job.handle(.discovered(isNew: true, submission))
    #expect(job.handle(.origin(Self.entry("validate"))) == [.read(submission)])
    let choice = job.handle(.read(try Self.record([])))
    #expect(choice == [.choose(DelegationRequest(selection: .label("b"), mode: .mirror), excluding: [])])
    #expect(
      job.handle(.chosen(Self.target)) == [
        .post(name: "delegate::select", context: ["attempt": 1, "uri": "local:///b", "label": "b"])
      ])
    guard case .submit(_, let jobspec) = job.handle(.written).first else {
      Issue.record("not submitted: \(job.state)")
      return
    }
    #expect(jobspec.json.value(at: "attributes.system.delegate") == nil, "the request does not travel")
    #expect(
      job.handle(.accepted(Self.remote)) == [
        .post(
          name: "delegate::submit", context: ["jobid": 99, "label": "b", "uri": "local:///b", "attempt": 1])
      ])
    #expect(
      job.handle(.written) == [
        .annotate(["delegate": ["target": "b", "jobid": .string(Self.remote.encoded(.f58))]]),
        .follow(Self.target.uri, Self.remote),
      ])
    // It was submitted held, and is released now that its id is on record.
    #expect(job.handle(.following) == [.prepare])
    #expect(job.handle(.remote([.urgency(0)])) == [.control(Self.target.uri, Self.remote, .urgency(16))])
    #expect(job.handle(.controlled) == [])
    #expect(job.handle(.remote([.urgency(16)])) == [])
  }

  @Test func aChoiceOfAnEarlierAgentIsKept() throws {
    var job = Self.new()
    _ = job.handle(.discovered(isNew: false))
    guard case .look(let uri, _) = job.handle(.read(try Self.record(Self.submitted + [Self.selected]))).first else {
      Issue.record("not looked for: \(job.state)")
      return
    }
    #expect(uri == Self.target.uri)
  }

  /// Start, output, end, in their order, whatever comes from the target in between.
  @Test func stepByStep() throws {
    var job = try Self.mirroring()
    #expect(
      job.handle(.remote([.started(at: 5, Self.resources)])) == [
        .allocate(Self.resources, started: 5, isHeld: false, target: "b")
      ])
    #expect(
      job.handle(.remote([.finished(at: 6, WaitStatus(exit: 3)), .over])) == [.report(Self.target.uri, failure: nil)])
    // That the request was answered is not enough: its eventlog says when it has started.
    #expect(job.handle(.written) == [])
    #expect(
      job.handle(.origin(Self.start)) == [
        .finish(WaitStatus(exit: 3)), .store(Self.resources, isInherited: false),
        .copy(Self.target.uri, Self.remote, .long),
      ])
    #expect(job.handle(.written) == [])
    #expect(job.handle(.copied) == [], "its resources are not on record yet")
    #expect(job.handle(.stored) == [.close(DelegatedJob.Holds())])
    #expect(job.handle(.written) == [.forget])
  }

  @Test func itsOwnExceptionComesBeforeItsEnd() throws {
    var job = try Self.running()
    let raised = job.handle(.remote([.exception(type: "timeout", note: "expired")]))
    #expect(
      raised == [
        .post(name: "exception", context: ["type": "timeout", "severity": 0, "note": "b: expired"]),
        .report(Self.target.uri, failure: nil),
      ])
    // Its own exception, seen in the origin's eventlog, is not taken for the owner's cancellation.
    #expect(job.handle(.origin(Self.entry("exception", ["type": "timeout", "severity": 0]))) == [])
    _ = job.handle(.written)
    #expect(
      job.handle(.remote([.finished(at: 6, WaitStatus(signal: 14))])) == [.finish(WaitStatus(signal: 14))])
  }

  /// What the owner cannot have meant is explained: before the end when the job never ran, for afterwards nothing can be said.
  @Test func anEndThatIsNotItsOwnDoing() throws {
    var job = try Self.mirroring()
    let explained = job.handle(.remote([.exception(type: "alloc", note: "too big"), .over]))
    guard case .post("exception", let context) = explained.first else {
      Issue.record("\(explained)")
      return
    }
    #expect(context["type"] == "DelegationFailure" && context["severity"] == 1)
    #expect(
      context["note"]?.stringValue?.contains("b: the job's end there is not its own doing: alloc: too big") == true)
    #expect(
      job.handle(.written) == [
        .post(name: "exception", context: ["type": "alloc", "severity": 0, "note": "b: too big"])
      ])
    #expect(job.handle(.written) == [.discard, .forget])
  }

  /// A command that is not there is the job's own doing; a shell that was lost is not.
  @Test(arguments: [(WaitStatus(exit: 127), false), (WaitStatus(signal: 9), true)])
  func exceptionsOfTheExecution(_ status: WaitStatus, _ isExplained: Bool) throws {
    var job = try Self.running()
    guard case .post("exception", let context) = job.handle(.remote([.exception(type: "exec", note: "x")])).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(context["type"] == "exec")
    _ = job.handle(.written)
    _ = job.handle(.copied)
    let next = job.handle(.remote([.finished(at: 6, status)]))
    if isExplained {
      guard case .post("exception", let context) = next.first else {
        Issue.record("\(next)")
        return
      }
      #expect(context["type"] == "DelegationFailure")
      #expect(job.handle(.written) == [.finish(status)])
    } else {
      #expect(next == [.finish(status), .report(Self.target.uri, failure: nil)])
    }
  }

  /// A remote job that was lost in the middle of its run has no wait status: its origin job does not run for ever.
  @Test func overWithoutAnEnd() throws {
    var job = try Self.running()
    _ = job.handle(.copied)
    _ = job.handle(.remote([.exception(type: "scheduler-restart", note: "x"), .over]))
    _ = job.handle(.written)
    #expect(job.handle(.written) == [.finish(WaitStatus(signal: 9))])
    #expect(job.handle(.written) == [.close(DelegatedJob.Holds())])
    #expect(job.handle(.written) == [.forget])
  }

  static let cancel = entry("exception", ["type": "cancel", "severity": 0, "note": "", "userid": 0])

  /// A job that runs is cancelled: it ends as the remote job does, and nobody explains to its owner what that was.
  @Test func theOwnerCancelsWhileItRuns() throws {
    var job = try Self.running()
    guard case .cancel(_, Self.remote, _) = job.handle(.origin(Self.cancel)).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(job.handle(.remote([.exception(type: "cancel", note: "x")])) == [])
    #expect(job.handle(.cancelled) == [])
    #expect(
      job.handle(.remote([.finished(at: 6, WaitStatus(signal: 15)), .over])) == [.finish(WaitStatus(signal: 15))])
    #expect(job.handle(.written) == [])
    #expect(job.handle(.copied) == [.close(DelegatedJob.Holds())])
    #expect(job.handle(.written) == [.forget])
  }

  /// The target of a running job that was cancelled cannot be reached: after five tries the job has an end all the same.
  @Test func theOwnerCancelsAndTheTargetIsDead() throws {
    var job = try Self.running()
    _ = job.handle(.origin(Self.cancel))
    let failure = TargetFailure("down", isTransient: true)
    var actions: [DelegatedJob.Action] = []
    for _ in 1...5 {
      #expect(!actions.contains(.release(DelegatedJob.Holds(), WaitStatus(signal: 15), hasLogs: true)))
      actions = job.handle(.unreachable(failure))
      if actions.count == 1 { _ = job.handle(.timer) }
    }
    #expect(actions.last == .release(DelegatedJob.Holds(), WaitStatus(signal: 15), hasLogs: true))
    // Its copy is cancelled when the target is there again, and nothing more is written.
    _ = job.handle(.gone)
    _ = job.handle(.timer)
    #expect(job.handle(.cancelled) == [.forget])
  }

  @Test func theOwnerCancels() throws {
    var job = try Self.mirroring()
    guard case .cancel(_, Self.remote, _) = job.handle(.origin(Self.cancel)).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(job.handle(.cancelled) == [.release(DelegatedJob.Holds(), nil), .discard, .forget])
  }

  @Test func aLostTargetIsFollowedAgain() throws {
    var job = try Self.mirroring()
    let unknown = DelegatedJob.Action.annotate(["delegate": ["unknown": "down"]])
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))) == [.pause(1), unknown])
    #expect(job.reason == "down")
    #expect(job.handle(.timer) == [.follow(Self.target.uri, Self.remote)])
    // It is shown once, and taken back when the target is there again.
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))) == [.pause(2)])
    _ = job.handle(.timer)
    // While it is asked for, nothing more is known than before.
    #expect(job.summary.state == "unknown" && job.reason == "down")
    #expect(job.handle(.following) == [.annotate(["delegate": ["unknown": .null]])])
    #expect(job.summary.state == "mirroring" && job.reason == nil)
  }

  /// The target is lost while a step is being written: the step counts, and is not done again.
  @Test func lostDuringAStep() throws {
    var job = try Self.mirroring()
    _ = job.handle(.remote([.started(at: 5, Self.resources)]))
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))).first == .pause(1))
    #expect(job.handle(.written) == [])
    #expect(job.handle(.origin(Self.start)) == [])
    #expect(job.handle(.timer) == [.follow(Self.target.uri, Self.remote)])
    #expect(job.handle(.following).last == .copy(Self.target.uri, Self.remote, .new))
  }

  /// The target is lost in the middle of the output: nobody copies twice, and what was copied is counted.
  @Test func outputIsResumed() throws {
    var job = try Self.running()
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))).first == .pause(1))
    #expect(job.handle(.timer) == [.follow(Self.target.uri, Self.remote)])
    #expect(
      !job.handle(.following).contains { if case .copy = $0 { true } else { false } },
      "the first copier has not given up yet")
    #expect(job.handle(.copyLost(TargetFailure("down", isTransient: true))).first == .pause(1))
    _ = job.handle(.timer)
    #expect(job.handle(.following).last == .copy(Self.target.uri, Self.remote, .rest))
  }

  /// What an earlier agent has done at the origin is not done again.
  @Test func takenOverWhileItRuns() throws {
    let done = [
      Self.entry("delegate::start", ["timestamp": 5.0]), Self.entry("dependency-remove", ["description": "delegated"]),
      Self.entry("depend"), Self.alloc, Self.start,
    ]
    var job = try Self.mirroring(done)
    #expect(
      job.handle(.remote([.urgency(0), .urgency(16), .started(at: 5, Self.resources)])) == [
        .store(Self.resources, isInherited: true), .copy(Self.target.uri, Self.remote, .rest),
      ])
    _ = job.handle(.copied)
    #expect(
      job.handle(.remote([.finished(at: 6, WaitStatus(exit: 0))])) == [
        .finish(WaitStatus(exit: 0)), .report(Self.target.uri, failure: nil),
      ])
  }

  /// An earlier agent, and an earlier plugin, have opened the prolog, and got no further.
  @Test func takenOverInTheProlog() throws {
    let prolog = Self.entry("prolog-start", ["description": "delegate"])
    var job = try Self.mirroring([Self.entry("delegate::start", ["timestamp": 5.0]), prolog])
    #expect(
      job.handle(.remote([.started(at: 5, Self.resources)])) == [
        .allocate(Self.resources, started: nil, isHeld: true, target: "b")
      ])
  }

  /// An earlier agent has given the job its resources; whether it has started was not written.
  @Test func takenOverBetweenAllocAndStart() throws {
    let prolog = Self.entry("prolog-start", ["description": "delegate"])
    var job = Self.new()
    _ = job.handle(.discovered(isNew: false))
    _ = job.handle(.read(try Self.record(Self.submitted + [Self.selected, Self.accepted, prolog, Self.alloc])))
    #expect(job.handle(.following) == [])
    #expect(
      job.handle(.remote([.started(at: 5, Self.resources)])) == [.start, .store(Self.resources, isInherited: true)])
    var holds = DelegatedJob.Holds()
    holds.prolog = true
    _ = job.handle(.written)
    _ = job.handle(.origin(Self.start))
    _ = job.handle(.stored)
    _ = job.handle(.remote([.finished(at: 6, WaitStatus(exit: 0)), .over]))
    _ = job.handle(.copied)
    #expect(job.handle(.written) == [.close(holds)])
  }

  /// An earlier agent has written the remote job's exception, and not yet its end: that is not a cancellation.
  @Test func takenOverBetweenExceptionAndEnd() throws {
    let exception = Self.entry("exception", ["type": "timeout", "severity": 0, "note": "b: expired"])
    var job = try Self.mirroring([Self.alloc, Self.start, exception])
    _ = job.handle(.remote([.started(at: 5, Self.resources), .exception(type: "timeout", note: "expired")]))
    _ = job.handle(.copied)
    #expect(
      job.handle(.remote([.finished(at: 6, WaitStatus(signal: 14))])) == [.finish(WaitStatus(signal: 14))])
  }

  /// The plugin is unloaded: the job goes on, and nothing of it is touched.
  @Test func forgottenWithoutAnException() throws {
    var job = try Self.mirroring()
    #expect(job.handle(.gone) == [.forget], "its logs are left to the next agent")
  }
}
