// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

/// The checker complains about what it should, and about nothing else.
struct CheckerTests {
  private static let place = JobPlan.Place(label: "near", uri: "local:///near")

  private static func log(_ lines: String...) throws -> [EventlogEntry] {
    try lines.map { line in
      let words = line.split(separator: " ", maxSplits: 2).map(String.init)
      let context = words.count > 2 ? try JSON(parsing: words[2]).objectValue : nil
      return EventlogEntry(timestamp: try #require(Double(words[0])), name: words[1], context: context)
    }
  }

  /// A mirrored job of three lines with exit code 7 that went well.
  private static func good(isHandOff: Bool = false) throws -> Evidence {
    var dice = Dice(seed: 1)
    var plan = JobPlan(1, &dice, places: [place])
    (plan.lines, plan.exitCode, plan.cancelAfter, plan.isHandOff) = (3, 7, nil, isHandOff)
    let events =
      isHandOff
      ? try log(
        "10 submit", "11 delegated {\"jobid\":42}",
        "12 exception {\"type\":\"DelegationSuccess\",\"severity\":0,\"note\":\"\"}", "12 clean")
      : try log("10 submit", "10 delegate::submit", "11 start", "20 finish {\"status\":1792}", "21 clean")
    let remote = try log("10 submit", "11 start", "20 finish {\"status\":1792}", "21 clean")
    return Evidence(
      plan: plan, marks: 1, events: events,
      output: try log(
        "1 header", "2 data {\"stream\":\"stdout\",\"data\":\"j1 line 1\\nj1 line 2\\n\"}",
        "2 data {\"stream\":\"stdout\",\"data\":\"j1 line 3\\n\"}", "3 data {\"stream\":\"stdout\",\"eof\":true}",
        "3 data {\"stream\":\"stderr\",\"eof\":true}"),
      execution: try log("1 init", "1 starting", "2 shell.init", "2 shell.start", "3 complete", "3 done"),
      copies: [Evidence.Copy(target: "near", id: JobID(rawValue: 42), events: remote, output: plan.output)])
  }

  private func complaints(_ change: (inout Evidence) throws -> Void) throws -> [String] {
    var evidence = try Self.good()
    try change(&evidence)
    return Checker.judge(evidence).complaints.map(\.description)
  }

  @Test func nothingIsWrong() throws {
    #expect(Checker.judge(try Self.good()) == Finding(verdict: .ran))
    #expect(Checker.judge(try Self.good(isHandOff: true)) == Finding(verdict: .handedOver))
  }

  @Test func aSecondRun() throws {
    #expect(try complaints { $0.marks = 2 } == ["doubled: 2 runs, 1 copies that have started"])
    #expect(
      try complaints { $0.copies.append($0.copies[0]) } == ["doubled: 1 runs, 2 copies that have started"])
    // No excuse covers it.
    let forgotten = try complaints {
      $0.marks = 2
      $0.kills = [Evidence.Kill(target: "near", time: 15, isDurable: false)]
    }
    #expect(forgotten.count == 1)
  }

  @Test func aLostJob() throws {
    #expect(try complaints { $0.events = [] }.first == "lost: the origin does not know it")
    #expect(try complaints { $0.marks = 0 } == ["lost: it has never run"])
    var evidence = try Self.good(isHandOff: true)
    evidence.copies = []
    #expect(Checker.judge(evidence).complaints == [.lost("no target has the copy on record")])
    #expect(try complaints { $0.events.removeLast() } == ["still active at the origin: without a reason"])
  }

  @Test func aJobThatWasNeverAccepted() throws {
    var evidence = try Self.good()
    (evidence.isAccepted, evidence.events, evidence.marks, evidence.copies) = (false, [], 0, [])
    #expect(Checker.judge(evidence) == Finding(verdict: .neverAccepted))
    evidence.marks = 1
    #expect(Checker.judge(evidence).complaints.count == 1)
    // One that was refused may be on record, as ended; not as having run.
    evidence.events = try Self.log(
      "10 submit", "10 exception {\"type\":\"cancel\",\"severity\":0,\"note\":\"no space\"}", "10 clean")
    #expect(!Checker.judge(evidence).complaints.isEmpty)
    evidence.marks = 0
    #expect(Checker.judge(evidence) == Finding(verdict: .neverAccepted))
  }

  @Test func outputThatIsCutOrRepeated() throws {
    #expect(try complaints { $0.output?.remove(at: 2) } == ["incomplete: output: j1 line 1\nj1 line 2\n"])
    #expect(
      try complaints {
        $0.output?.insert(contentsOf: try Self.log("2 data {\"stream\":\"stdout\",\"data\":\"x\"}"), at: 1)
      }.count == 1)
    #expect(try complaints { $0.output?.removeLast() } == ["incomplete: output: 'data stderr eof' 0 times"])
    #expect(
      try complaints { $0.execution? += try Self.log("3 shell.init") } == [
        "incomplete: execution log: 'shell.init' 2 times"
      ])
    #expect(try complaints { $0.output = nil }.count == 4)
  }

  @Test func anotherEnd() throws {
    #expect(try complaints { $0.events[3].context?["status"] = 0 } == ["wrong end: wait status 0 instead of 1792"])
    #expect(try complaints { $0.events.remove(at: 1) } == ["wrong end: it has run at home"])
    let exception = "20 exception {\"type\":\"exec\",\"severity\":0,\"note\":\"lost\"}"
    #expect(try complaints { $0.events += try Self.log(exception) } == ["wrong end: exception exec: lost"])
    let cancel = "20 exception {\"type\":\"cancel\",\"severity\":0,\"note\":\"\"}"
    #expect(
      try complaints { $0.events += try Self.log(cancel) } == ["wrong end: canceled, and nobody has asked for it"])
    #expect(
      try complaints {
        $0.events += try Self.log(cancel)
        $0.plan.cancelAfter = 1
        $0.output?.remove(at: 2)
      } == [])
    func cancelled(_ exit: Int, _ status: Int64) throws -> [String] {
      try complaints {
        $0.events += try Self.log(cancel)
        $0.plan.cancelAfter = 1
        $0.plan.exitCode = exit
        $0.events[3].context?["status"] = .int(status)
      }
    }
    // Its processes had just ended by themselves.
    #expect(try cancelled(0, 256) == [])
    #expect(try cancelled(7, 256) == ["wrong end: wait status 256 of a canceled job"])
  }

  @Test func aCopyThatIsLeft() throws {
    let held = try complaints {
      $0.copies.append(
        Evidence.Copy(target: "far", id: JobID(rawValue: 1), events: try Self.log("10 submit"), output: ""))
    }
    #expect(held.count == 1 && held[0].hasSuffix("waits at far"))
  }

  @Test func aTargetThatCouldNotBeReached() throws {
    func refused(_ change: (inout Evidence) -> Void) throws -> Finding {
      var evidence = try Self.good()
      evidence.events = try Self.log(
        "10 submit", "14 exception {\"type\":\"DelegationFailure\",\"severity\":0,\"note\":\"no socket\"}", "14 clean")
      (evidence.marks, evidence.copies, evidence.output) = (0, [], nil)
      change(&evidence)
      return Checker.judge(evidence)
    }
    let trouble = Evidence.Trouble(targets: ["near"], from: 9, to: 12)
    #expect(try refused { $0.troubles = [trouble] } == Finding(verdict: .unreached))
    #expect(try refused { _ in }.complaints.count == 1)
    #expect(try refused { $0.troubles = [Evidence.Trouble(targets: ["far"], from: 9, to: 12)] }.complaints.count == 1)
    #expect(
      try refused {
        $0.troubles = [trouble]
        $0.marks = 1
      }.complaints == [.wrongEnd("it says that it runs nowhere, and has run")])
  }

  @Test func aTargetThatWasKilled() throws {
    func killed(at time: Double, isDurable: Bool, _ end: String...) throws -> Finding {
      var evidence = try Self.good()
      evidence.kills = [Evidence.Kill(target: "near", time: time, isDurable: isDurable)]
      evidence.events = try Self.log("10 submit", "10 delegate::submit", "11 start")
      for line in end { evidence.events += try Self.log(line) }
      evidence.output?.removeSubrange(2...)
      return Checker.judge(evidence)
    }
    let lost = "16 exception {\"type\":\"exec\",\"severity\":0,\"note\":\"lost in its run\"}"
    let kill = "16 finish {\"status\":9}"
    #expect(try killed(at: 15, isDurable: true, lost, kill, "17 clean") == Finding(verdict: .cutShort))
    #expect(try killed(at: 15, isDurable: true, kill, "17 clean").complaints.count == 1)
    #expect(try !killed(at: 40, isDurable: true, lost, kill, "17 clean").complaints.isEmpty)
    #expect(try killed(at: 15, isDurable: false, kill, "17 clean") == Finding(verdict: .forgotten))
    #expect(try !killed(at: 15, isDurable: false).complaints.isEmpty)
    #expect(try !killed(at: 40, isDurable: false, kill, "17 clean").complaints.isEmpty)
  }

  /// The same seed decides the same.
  @Test func oneSeedOneSequence() {
    func faults() -> [Fault] {
      var dice = Dice(seed: 7)
      return (0..<200).map { _ in
        Fault(&dice, Fault.Abilities(instancesAreDurable: true, hasSSH: true, haveDisks: true))
      }
    }
    #expect(faults() == faults())
    #expect(Set(faults().map(\.kind)).count > 12)
  }
}
