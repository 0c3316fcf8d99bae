// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What is known of a remote job, and how far the origin job has followed it. One step is under way at a time, beside the copying of its
/// output, which takes as long as the job.
///
/// The origin job's own events are the steps' record: a new agent reads from them what has been done.
struct JobMirror: Hashable, Sendable {
  private enum Step: Hashable, Sendable {
    case prepare
    case allocate
    case start
    case explain
    case except
    case finish
    case close
  }

  private enum Copy: Hashable, Sendable {
    case notBegun
    case underWay
    case interrupted
    case whole
  }

  // The remote job.
  private var startTime: Double?
  private var resources: RemoteResources?
  private var exceptionType: String?
  private var exceptionNote = ""
  private var endTime: Double?
  private var status: WaitStatus?
  private(set) var remoteIsOver = false
  private var isReported = false

  // The origin job.
  private var done: Set<Step> = []
  /// Whether its logs have to be emptied, for an earlier attempt has written to them.
  private(set) var hasToBeRenewed = false
  private var isAnnounced = false
  /// Whether the plugin has been given the resources; the event `alloc` follows.
  private var isAllocating = false
  private var underWay: Step?
  private var copy = Copy.notBegun
  /// Whether the resources are being written to the KVS, or are there.
  private var isStoring = false
  private var isStored = false
  /// Whether an earlier agent may have copied some of the output.
  private(set) var isInherited = false
  /// Whether it was ended here, by somebody whom nobody has to tell why.
  private var wasEndedHere = false
  /// The hashes of what the remote job has said of itself, and is in the origin job's eventlog: the memos are many, and may be large.
  private var memos: Set<Int> = []
  private var hasRefusedMemos = false
  /// What holds the origin job, by its eventlog.
  private(set) var holds = DelegatedJob.Holds()

  // MARK: What is noted

  mutating func note(remote event: RemoteEvent) {
    switch event {
    case .started(let time, let found):
      startTime = time
      resources = found
    case .exception(let type, let note):
      guard exceptionType == nil else { return }
      exceptionType = type
      exceptionNote = note
    case .finished(let time, let status):
      endTime = time
      self.status = status
    case .over: remoteIsOver = true
    case .urgency, .memo, .longMemo: break
    }
  }

  mutating func note(origin entry: EventlogEntry) {
    switch entry.name {
    case "delegate::start": isAnnounced = true
    case "delegate::exception": if done.contains(.allocate) { hasToBeRenewed = true }
    case "delegate::select": hasToBeRenewed = false
    case "alloc": done.insert(.allocate)
    case "start": done.formUnion([.allocate, .start])
    case "finish": done.insert(.finish)
    case "release": done.insert(.close)
    case "memo": _ = isNew(memo: entry.context ?? [:])
    case "exception" where entry.context?["severity"]?.intValue == 0:
      done.insert(.except)
      if entry.context?["userid"] != nil { wasEndedHere = true }
    case "exception" where entry.context?["type"]?.stringValue == "DelegationFailure": done.insert(.explain)
    case "prolog-start", "prolog-finish":
      if entry.context?["description"]?.stringValue == DelegationRequest.prologDescription {
        holds.prolog = entry.name == "prolog-start"
      }
    case "epilog-start", "epilog-finish":
      if entry.context?["description"]?.stringValue == DelegationRequest.epilogDescription {
        holds.epilog = entry.name == "epilog-start"
      }
    default: break
    }
  }

  /// The most memos of a job that are written to its eventlog: it stays with the job manager as long as the job.
  static let maximumMemos = 64

  /// Whether a memo is to be written: the same is told again whenever the remote job is followed anew.
  mutating func isNew(memo: JSONObject) -> Bool {
    memos.count < Self.maximumMemos && memos.insert(memo.hashValue).inserted
  }

  /// Why a memo is not written that is not on record, said once; nil when it is to be, or has been.
  mutating func refusal(of event: RemoteEvent) -> String? {
    switch event {
    case .longMemo: break
    case .memo(let memo) where memos.count >= Self.maximumMemos && !memos.contains(memo.hashValue): break
    default: return nil
    }
    guard !hasRefusedMemos else { return nil }
    hasRefusedMemos = true
    return "more than \(Self.maximumMemos) memos, or one of more than \(RemoteEvent.maximumMemoLength >> 10) KiB: "
      + "what is beyond that is left out"
  }

  /// The job was mirrored by an earlier agent: its log may have some of the output already.
  mutating func inherit() { isInherited = done.contains(.allocate) }

  /// How many nodes the remote job has, once it runs.
  var nodeCount: Int? { resources?.nodeCount }

  /// Why the target gave it no resources, when that is how it ended.
  var allocationFailure: String? { exceptionType == "alloc" && startTime == nil ? exceptionNote : nil }

  /// The remote job is followed anew: what it says comes again. A step that is under way still has its answer to come.
  mutating func restart() { remoteIsOver = false }

  // MARK: Steps

  mutating func stepDone() {
    switch underWay {
    // Whether the job has its resources, its eventlog says.
    case .allocate: isAllocating = true
    case .some(let step): done.insert(step)
    case nil: break
    }
    underWay = nil
  }

  /// Whether no step is under way.
  var isIdle: Bool { underWay == nil }

  /// Whether nothing at all is under way: no answer is still to come.
  var isQuiet: Bool { underWay == nil && copy != .underWay && isStored == isStoring }

  /// Its logs are empty.
  mutating func renewed() { hasToBeRenewed = false }

  /// Whether it is known how the remote job ends, and nobody has been told yet what that says of its target. Not later: an exception of a job that
  /// never started is the end of its origin job, and of its machine.
  var isUnreported: Bool {
    !isReported && (remoteIsOver || status != nil || (exceptionType != nil && explains != nil))
  }

  /// What the end of a remote job says of its target.
  enum Verdict: Hashable, Sendable {
    /// The job has ended by its own doing.
    case ranWell
    /// It has not, in these words.
    case failed(String)
  }

  /// What the end says of the target, told once. Nil: nothing, for the job never got anything there, or somebody has cancelled it.
  mutating func report() -> Verdict? {
    isReported = true
    guard startTime != nil || exceptionType == "prolog" || exceptionType == "exec" else { return nil }
    if exceptionType == "cancel" || wasEndedHere { return nil }
    if explains == true { return .failed("\(exceptionType ?? ""): \(exceptionNote)") }
    return exceptionType == nil && status == nil ? .failed("the job was lost in its run") : .ranWell
  }

  /// Whether it is known how the remote job ended: there is nothing to run again, whatever is still missing.
  var hasEnd: Bool {
    status != nil || exceptionType != nil || remoteIsOver || !done.isDisjoint(with: [.finish, .except])
  }

  /// What is left of it for another attempt: what the origin job was given, which is all that it needs to run, or that it runs already.
  ///
  /// After a restart of the origin that has lost its `alloc`, a job that does not run may have its prolog.
  var ofNextAttempt: JobMirror {
    var next = JobMirror()
    next.isAnnounced = isAnnounced
    next.isAllocating = isAllocating
    next.holds = holds
    guard hasBegun else { return next }
    next.done = done.intersection([.prepare, .allocate, .start])
    next.isAnnounced = true
    next.isInherited = isInherited
    next.memos = memos
    next.hasToBeRenewed = true
    return next
  }

  mutating func stepFailed() { underWay = nil }

  mutating func copied() { copy = .whole }

  mutating func copyInterrupted() { if copy == .underWay { copy = .interrupted } }

  /// The resources that are to be written, and that nobody writes; they are being written from now on. What an earlier agent has written is written
  /// again: nobody knows whether it got so far.
  mutating func beginStoring() -> RemoteResources? {
    guard !isStoring, let resources, hasBegun, !isClosed else { return nil }
    isStoring = true
    return resources
  }

  mutating func stored() { isStored = true }

  /// How long a job may run, in seconds, whose output is fetched in one piece.
  private static let briefRun = 1.0

  /// Whether the output has to be copied and nobody does; it is being copied from now on.
  mutating func beginCopy() -> DelegatedJob.Output? {
    guard done.contains(.start), let startTime, !done.contains(.close) else { return nil }
    switch copy {
    case .underWay, .whole: return nil
    case .notBegun, .interrupted:
      defer { copy = .underWay }
      if copy == .interrupted || isInherited { return .rest }
      return endTime ?? startTime < startTime + Self.briefRun ? .new : .long
    }
  }

  /// The next step, when none is under way and there is one.
  mutating func next(from target: String) -> DelegatedJob.Action? {
    guard underWay == nil, let (step, action) = due(target) else { return nil }
    underWay = step
    return action
  }

  private func due(_ target: String) -> (Step, DelegatedJob.Action)? {
    // Before the remote job starts, so that its start has to wait for nothing.
    if !hasBegun, !done.contains(.prepare), !done.contains(.except) { return (.prepare, .prepare) }
    if let startTime, let resources {
      if !done.contains(.allocate) {
        // One that was ended before it could start here does not start any more.
        guard !isAllocating, !done.contains(.except) else { return nil }
        return (
          .allocate,
          .allocate(
            resources, started: isAnnounced ? nil : startTime, isHeld: holds.prolog, target: target)
        )
      }
      if !done.contains(.start) { return isAllocating ? nil : (.start, .start) }
    }
    return exceptionStep(target) ?? finishStep() ?? closeStep()
  }

  /// The remote job's exception comes before its end here too. It is written as an event, not raised: raised, it would have the origin
  /// end the execution with a status of its own.
  private func exceptionStep(_ target: String) -> (Step, DelegatedJob.Action)? {
    guard let exceptionType else {
      // Over, and neither a start nor an exception was understood: its origin job must not wait for ever.
      guard remoteIsOver, startTime == nil, !done.contains(.except) else { return nil }
      let words = "\(target): the job is over there, and what the target says of its run cannot be read"
      return (.except, Self.exception("DelegationFailure", 0, words))
    }
    if explains == true, !done.contains(.explain), explainsFirst || done.contains(.except) {
      let words =
        "\(target): the job's end there is not its own doing: \(exceptionType)"
        + (exceptionNote.isEmpty ? "" : ": \(exceptionNote)")
      return (.explain, Self.exception("DelegationFailure", 1, words))
    }
    guard !done.contains(.except) else { return nil }
    return (.except, Self.exception(exceptionType, 0, exceptionNote.isEmpty ? target : "\(target): \(exceptionNote)"))
  }

  private static func exception(_ type: String, _ severity: Int64, _ note: String) -> DelegatedJob.Action {
    .post(
      name: "exception",
      context: [
        "type": .string(type), "severity": .int(severity),
        "note": .string(note.cut(to: DelegatedJob.maximumNoteLength)),
      ])
  }

  private func finishStep() -> (Step, DelegatedJob.Action)? {
    guard let status = finalStatus, done.contains(.start), !done.contains(.finish) else { return nil }
    // Whether an exception of the execution was the job's own doing, its wait status has just told.
    guard explains == false || exceptionType == nil || done.contains(.explain) else { return nil }
    return (.finish, .finish(status))
  }

  /// All that the remote job had is here: the logs are put where they stay, and the origin job lets its resources go.
  private func closeStep() -> (Step, DelegatedJob.Action)? {
    guard done.contains(.finish), !done.contains(.close), isNothing || (copy == .whole && isStored) else { return nil }
    return (.close, .close(holds))
  }

  /// Whether the origin job runs, and there was no run at this target: it has brought nothing that could be copied.
  private var isNothing: Bool { hasBegun && remoteIsOver && startTime == nil }

  /// The wait status. A job that was lost in the middle of its run has none, and counts as killed.
  private var finalStatus: WaitStatus? { status ?? (remoteIsOver ? WaitStatus(signal: 9) : nil) }

  /// Whether the exception is not the job's own doing, so that it has to be explained. Nil: not known yet.
  ///
  /// Its own doing are a time limit, and an execution that ends with an exit code.
  private var explains: Bool? {
    if wasEndedHere { return false }
    return switch exceptionType {
    case nil, "timeout": false
    case "exec" where startTime != nil: finalStatus.map { !isOwn(execution: $0) }
    default: true
    }
  }

  /// Whether an exception of the execution is what the job, or an option of its owner's, has brought about: a command that is not there, a task
  /// that fails under `exit-on-error`, a shell that cannot do what it was told. Then it ends with an exit code; one that was lost was killed.
  private func isOwn(execution status: WaitStatus) -> Bool {
    if ["exit-on-error", "exit-timeout"].contains(where: exceptionNote.contains) { return true }
    return (1..<128).contains(status.exitCode ?? 0)
  }

  /// A job that never started is over with its fatal exception; after that nothing more can be said.
  private var explainsFirst: Bool { exceptionType != "exec" || startTime == nil }

  /// Whether the origin job has all that the remote one had.
  var isOver: Bool {
    guard remoteIsOver, underWay == nil, copy != .underWay else { return false }
    return startTime == nil && !hasBegun ? done.contains(.except) : done.contains(.close)
  }

  /// Whether the origin job has let its resources go.
  var isClosed: Bool { done.contains(.close) }

  /// Whether the origin job has begun to run.
  var hasBegun: Bool { done.contains(.allocate) }

  /// Whether the origin job's execution has ended.
  var isFinished: Bool { done.contains(.finish) || (remoteIsOver && startTime == nil && !hasBegun) }
}
