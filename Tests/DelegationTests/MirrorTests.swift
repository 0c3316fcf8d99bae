// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// A mirrored job, driven by hand: from the choice to the end.
@Suite struct MirrorTests {
  private static let remote = JobID(rawValue: 99)
  private static let target = Target(uri: FluxURI(local: "/b"), label: "b")
  private static let resources = ResourceSet(
    ranks: [ResourceSet.Rank(rank: 0, host: "b0", cores: [0], gpus: [])], startTime: 0, expiration: 0, properties: [:])

  private static func entry(_ name: String, _ context: JSONObject? = nil) -> EventlogEntry {
    EventlogEntry(timestamp: 1, name: name, context: context)
  }

  private static let submitted = [
    entry("submit", ["userid": 0, "urgency": 16, "flags": 0, "version": 1]), entry("validate"),
  ]
  private static let selected = entry("delegate::select", ["attempt": 1, "uri": "local:///b", "label": "b"])
  private static let accepted = entry(
    "delegate::submit", ["jobid": 99, "label": "b", "uri": "local:///b", "attempt": 1])

  private static func record(_ events: [EventlogEntry]) throws -> JobRecord {
    let jobspec = try Jobspec(
      parsing: """
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"per_slot":1}}],
        "attributes":{"system":{"duration":0,"delegate":"b"}}}
        """)
    return JobRecord(id: JobID(rawValue: 7), userID: 0, urgency: 16, jobspec: jobspec, eventlog: events)
  }

  private func new() -> DelegatedJob { DelegatedJob(id: JobID(rawValue: 7), origin: "a") }

  /// A machine whose remote job is followed.
  private func mirroring() throws -> DelegatedJob {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    let actions = job.handle(.read(try Self.record(Self.submitted + [Self.selected, Self.accepted])))
    #expect(actions == [.follow(Self.target.uri, Self.remote)])
    return job
  }

  @Test func theChoiceIsWrittenBeforeAnythingIsSent() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: true))
    #expect(job.handle(.origin(Self.entry("validate"))) == [.read])
    #expect(job.handle(.read(try Self.record(Self.submitted))) == [.choose(.label("b"))])
    #expect(
      job.handle(.chosen(Self.target)) == [
        .post(name: "delegate::select", context: ["attempt": 1, "uri": "local:///b", "label": "b"])
      ])
    guard case .submit(_, let jobspec, _) = job.handle(.written).first else {
      Issue.record("not submitted: \(job.state)")
      return
    }
    #expect(jobspec.json.value(at: "attributes.system.delegate") == nil, "the request does not travel")
    #expect(
      job.handle(.accepted(Self.remote)) == [
        .post(
          name: "delegate::submit", context: ["jobid": 99, "label": "b", "uri": "local:///b", "attempt": 1])
      ])
    #expect(job.handle(.written) == [.follow(Self.target.uri, Self.remote)])
  }

  @Test func aChoiceOfAnEarlierAgentIsKept() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    guard case .look(let uri, _) = job.handle(.read(try Self.record(Self.submitted + [Self.selected]))).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(uri == Self.target.uri)
  }

  @Test func startsRunsAndEndsAsThere() throws {
    var job = try mirroring()
    #expect(
      job.handle(.remote(.started(at: 5, Self.resources))) == [
        .post(name: "delegate::start", context: ["timestamp": 5.0])
      ])
    // The end may come while the start is still being told at home: nothing is left out.
    #expect(job.handle(.remote(.finished(WaitStatus(exit: 3)))) == [])
    #expect(job.handle(.written) == [.allocate(Self.resources)])
    #expect(job.handle(.remote(.over)) == [])
    #expect(job.handle(.written) == [.start])
    #expect(job.handle(.written) == [.finish(WaitStatus(exit: 3))])
    #expect(job.handle(.written) == [.forget])
  }

  @Test func anExceptionComesBeforeTheEnd() throws {
    var job = try mirroring()
    _ = job.handle(.remote(.started(at: 5, Self.resources)))
    for _ in 0..<3 { _ = job.handle(.written) }
    let raised = job.handle(.remote(.exception(type: "timeout", note: "expired")))
    #expect(
      raised == [
        .post(name: "exception", context: ["type": "timeout", "severity": 0, "note": "b: expired"])
      ])
    // Its own exception, seen in the origin's eventlog, is not taken for the owner's cancellation.
    #expect(job.handle(.origin(Self.entry("exception", ["type": "timeout", "severity": 0]))) == [])
    _ = job.handle(.written)
    #expect(job.handle(.remote(.finished(WaitStatus(signal: 14)))) == [.finish(WaitStatus(signal: 14))])
  }

  @Test func aJobThatNeverRanThere() throws {
    var job = try mirroring()
    guard case .post("exception", _) = job.handle(.remote(.exception(type: "alloc", note: "too big"))).first else {
      Issue.record("\(job.state)")
      return
    }
    _ = job.handle(.remote(.over))
    #expect(job.handle(.written) == [.forget])
  }

  @Test func theOwnerCancels() throws {
    var job = try mirroring()
    let cancel = Self.entry("exception", ["type": "cancel", "severity": 0, "note": ""])
    guard case .cancel(_, Self.remote, _) = job.handle(.origin(cancel)).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(job.handle(.cancelled) == [.forget])
  }

  @Test func aLostTargetIsFollowedAgain() throws {
    var job = try mirroring()
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))) == [.pause(1)])
    #expect(job.reason == "down")
    #expect(job.handle(.timer) == [.follow(Self.target.uri, Self.remote)])
  }

  /// The target is lost while a step is being written: the step counts, and is not done again.
  @Test func lostDuringAStep() throws {
    var job = try mirroring()
    _ = job.handle(.remote(.started(at: 5, Self.resources)))
    #expect(job.handle(.lost(TargetFailure("down", isTransient: true))) == [.pause(1)])
    #expect(job.handle(.written) == [])
    #expect(job.handle(.timer) == [.follow(Self.target.uri, Self.remote)])
    #expect(job.handle(.remote(.started(at: 5, Self.resources))) == [.allocate(Self.resources)])
  }

  /// What an earlier agent has done at the origin is not done again.
  @Test func takenOverWhileItRuns() throws {
    var job = new()
    _ = job.handle(.discovered(isNew: false))
    let done = [
      Self.entry("delegate::start", ["timestamp": 5.0]), Self.entry("dependency-remove", ["description": "delegated"]),
      Self.entry("depend"), Self.entry("alloc", ["bypass": true]), Self.entry("start"),
    ]
    _ = job.handle(.read(try Self.record(Self.submitted + [Self.selected, Self.accepted] + done)))
    #expect(job.handle(.remote(.started(at: 5, Self.resources))) == [])
    #expect(job.handle(.remote(.finished(WaitStatus(exit: 0)))) == [.finish(WaitStatus(exit: 0))])
  }

  /// The plugin is unloaded: the job goes on, and nothing of it is touched.
  @Test func forgottenWithoutAnException() throws {
    var job = try mirroring()
    #expect(job.handle(.gone) == [.forget])
  }
}
