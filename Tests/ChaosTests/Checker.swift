// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What is expected of every job, whatever has happened: pure, from the evidence alone.
///
/// - It has begun to run exactly once. No two copies of it have started.
/// - Mirrored: the origin job has the exit code, the output and the execution log of the run, whole, and nothing else.
/// - Handed over: the copy on record has run to its end, with its exit code and its whole output.
/// - No job is active at the origin, and no copy at a target.
///
/// Less is expected in these cases, and no other:
/// - Its owner has cancelled it: it ran at most once, and its output is the beginning of the whole.
/// - It says that it runs nowhere, with a reason, and the way to a target of its was in trouble at the time: it has not run.
/// - Its target was killed while it ran: it ran at most once, and either is complete or ends with a failure that says so.
/// - A target of its was killed that keeps nothing: it ran at most once, and has ended or is held with a reason.
struct Checker {
  /// How far two clocks of one machine, and the moments at which things are noted, may be apart, in seconds.
  private static let slack = 1.0
  /// For how long after trouble a target may be found unreachable, in seconds: three tries, and what the machine's load adds.
  private static let patience = 20.0

  private let evidence: Evidence
  private var complaints: [Finding.Complaint] = []
  private var plan: JobPlan { evidence.plan }
  private var events: [EventlogEntry] { evidence.events }

  static func judge(_ evidence: Evidence) -> Finding {
    var checker = Checker(evidence: evidence)
    let verdict = checker.verdict()
    return Finding(verdict: verdict, complaints: checker.complaints)
  }

  private init(evidence: Evidence) { self.evidence = evidence }

  private var started: [Evidence.Copy] { evidence.copies.filter { $0.events.first("start") != nil } }

  private mutating func verdict() -> Finding.Verdict {
    checkRuns()
    for copy in evidence.copies where copy.events.first("clean") == nil {
      let state = copy.events.first("start") == nil ? "waits" : "runs"
      complaints.append(.copyLeft("\(copy.id) \(state) at \(copy.target)"))
    }
    guard !events.isEmpty else {
      if evidence.isAccepted { complaints.append(.lost("the origin does not know it")) }
      if evidence.marks > 0 { complaints.append(.wrongEnd("it has run, and the origin does not know it")) }
      return .neverAccepted
    }
    let wasForgotten = wasForgotten
    guard events.first("clean") != nil else {
      if wasForgotten, evidence.reason != nil { return .forgotten }
      complaints.append(.stillActive(evidence.reason ?? "without a reason"))
      return .ran
    }
    // With what its target knew of it is gone, nothing more can be asked for.
    if wasForgotten { return .forgotten }
    let types = events.fatal.map(\.type)
    // Its owner was told that it is not accepted, or nothing.
    if !evidence.isAccepted, !types.isEmpty, evidence.marks == 0, started.isEmpty { return .neverAccepted }
    if types.contains("cancel") { return cancelled() }
    if types.contains("DelegationFailure") { return unreached() }
    if types.contains("DelegationSuccess") { return handedOver() }
    return mirrored()
  }

  /// How often it may run its owner decides: here is the place for another answer than once.
  private mutating func checkRuns() {
    switch plan.runs {
    case .once:
      guard evidence.marks > 1 || started.count > 1 else { return }
      complaints.append(.doubled(marks: evidence.marks, copies: started.count))
    }
  }

  // MARK: Circumstances

  /// When it was in the world, as far as it is known.
  private var life: ClosedRange<Double> {
    let start = events.first?.timestamp ?? 0
    let ends = plan.isHandOff ? evidence.copies.compactMap { $0.events.first("clean")?.timestamp } : []
    let end = plan.isHandOff ? ends.max() : events.first("clean")?.timestamp
    return (start - Self.slack)...max(start, end.map { $0 + Self.slack } ?? .infinity)
  }

  private var wasForgotten: Bool {
    let life = life
    return evidence.kills.contains { !$0.isDurable && plan.targets.contains($0.target) && life.contains($0.time) }
  }

  /// Whether its target was killed while its processes ran.
  private var wasCutShort: Bool {
    started.contains { copy in
      guard let start = copy.events.first("start")?.timestamp else { return false }
      let end = copy.events.first("finish")?.timestamp ?? copy.events.first("clean")?.timestamp ?? .infinity
      return evidence.kills.contains {
        $0.isDurable && $0.target == copy.target && $0.time > start - Self.slack && $0.time < end + Self.slack
      }
    }
  }

  private var wasInTrouble: Bool {
    let life = life
    return evidence.troubles.contains {
      !$0.targets.isDisjoint(with: plan.targets) && $0.from <= life.upperBound
        && $0.to + Self.patience >= life.lowerBound
    }
  }

  // MARK: Ends

  private mutating func cancelled() -> Finding.Verdict {
    if plan.cancelAfter == nil { complaints.append(.wrongEnd("canceled, and nobody has asked for it")) }
    if let status = events.status, status != WaitStatus(exit: plan.exitCode) {
      let isEnded = status.signal.map { [9, 15].contains($0) } ?? status.exitCode.map { [137, 143].contains($0) }
      // Its processes may have ended by themselves at that moment: after a fatal exception that is no success.
      let isNoSuccess = plan.exitCode == 0 && status == WaitStatus(exit: 1)
      if isEnded != true, !isNoSuccess {
        complaints.append(.wrongEnd("wait status \(status.rawValue) of a canceled job"))
      }
    }
    let output = evidence.output?.text() ?? ""
    if !plan.output.hasPrefix(output) { complaints.append(.incomplete("the output of a canceled job: \(output)")) }
    return .cancelled
  }

  private mutating func unreached() -> Finding.Verdict {
    if evidence.marks > 0 || !started.isEmpty {
      complaints.append(.wrongEnd("it says that it runs nowhere, and has run"))
    }
    let note = events.fatal.first { $0.type == "DelegationFailure" }?.note ?? ""
    if note.isEmpty { complaints.append(.wrongEnd("DelegationFailure without a reason")) }
    if !wasInTrouble { complaints.append(.lost("without trouble on the way it says: \(note)")) }
    return .unreached
  }

  private mutating func handedOver() -> Finding.Verdict {
    guard plan.isHandOff else {
      complaints.append(.wrongEnd("handed over, and nobody has asked for it"))
      return .handedOver
    }
    let remote = JobID(events.first("delegated")?.context?["jobid"])
    guard let copy = evidence.copies.first(where: { $0.id == remote }) else {
      complaints.append(.lost("no target has the copy on record"))
      return .handedOver
    }
    return ended(copy.events, copy.output, verdict: .handedOver)
  }

  private mutating func mirrored() -> Finding.Verdict {
    if plan.isHandOff { complaints.append(.wrongEnd("ended without having been handed over")) }
    if events.first("delegate::submit") == nil { complaints.append(.wrongEnd("it has run at home")) }
    let verdict = ended(events, evidence.output?.text() ?? "", verdict: .ran)
    guard verdict == .ran else { return verdict }
    checkLog("output", evidence.output, ["header", "data stdout eof", "data stderr eof"])
    checkLog(
      "execution log", evidence.execution, ["init", "starting", "shell.init", "shell.start", "complete", "done"])
    return verdict
  }

  /// The end of the run, by the eventlog that it is shown in.
  private mutating func ended(
    _ log: [EventlogEntry], _ output: String, verdict: Finding.Verdict
  ) -> Finding.Verdict {
    let failures = log.fatal.filter { $0.type != "DelegationSuccess" }
    let isComplete =
      log.status == WaitStatus(exit: plan.exitCode) && output == plan.output && failures.isEmpty && evidence.marks == 1
    if isComplete { return verdict }
    if wasCutShort {
      let notes = log.filter { $0.name == "exception" }.compactMap { $0.context?["note"]?.stringValue }
      if log.status == WaitStatus(exit: 0) || notes.allSatisfy(\.isEmpty) {
        complaints.append(.wrongEnd("lost in its run, and nothing says so: status \(log.status?.rawValue ?? -1)"))
      }
      if !plan.output.hasPrefix(output) { complaints.append(.incomplete("not the beginning of its output: \(output)")) }
      return .cutShort
    }
    if evidence.marks == 0 { complaints.append(.lost("it has never run")) }
    if log.status != WaitStatus(exit: plan.exitCode) {
      let status = log.status.map { String($0.rawValue) } ?? "none"
      complaints.append(.wrongEnd("wait status \(status) instead of \(WaitStatus(exit: plan.exitCode).rawValue)"))
    }
    for (type, note) in failures { complaints.append(.wrongEnd("exception \(type): \(note)")) }
    if output != plan.output { complaints.append(.incomplete("output: \(output)")) }
    return verdict
  }

  /// Each of these entries is there once.
  private mutating func checkLog(_ name: String, _ log: [EventlogEntry]?, _ once: [String]) {
    let entries = (log ?? []).map { entry in
      guard entry.name == "data" else { return entry.name }
      let end = entry.context?["eof"]?.boolValue == true ? " eof" : ""
      return "data \(entry.context?["stream"]?.stringValue ?? "")\(end)"
    }
    for expected in once {
      let count = entries.count { $0 == expected }
      if count != 1 { complaints.append(.incomplete("\(name): '\(expected)' \(count) times")) }
    }
  }
}
