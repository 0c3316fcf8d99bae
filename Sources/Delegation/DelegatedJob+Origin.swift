// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the origin instance says of the job, and what is written there.
extension DelegatedJob {
  mutating func discovered(_ isNew: Bool, _ submission: Submission?) -> [Action] {
    self.isNew = isNew
    self.submission = isNew ? submission : nil
    if let submission { control.submitted(urgency: submission.urgency) }
    // A job that has just been submitted is read when it is accepted: until then its record is not there.
    guard isNew else { return [.read(nil)] }
    state = .waiting
    return []
  }

  mutating func read(_ record: JobRecord) -> [Action] {
    guard state == .reading else { return late("a record") }
    self.record = record
    tries = 0
    state = .waiting
    // What is noted only ever grows, so it does not matter that events may have come before the record they are also in. The owner's changes
    // alone have an order: those that have come already are younger than the record's, or are its last.
    if !record.eventlog.isEmpty { for entry in record.eventlog + earlyChanges { note(entry) } }
    earlyChanges = []
    // Whatever holds it, in the end it has to be let go.
    if mirror.holds.prolog || mirror.holds.epilog { isKept = true }
    let remote: JobID?
    do {
      request = try DelegationRequest(jobspec: record.jobspec)
      remote = try recall(record)
    } catch { return conclude(.failure("\(error)")) }
    guard let request else { return conclude(.failure("the job asks for no delegation")) }
    isOnRecord = remote != nil
    if mirror.hasBegun { control.release() }
    let ending = endsWith.map { originEnds($0) } ?? []
    return ending + resumed(record, request, remote)
  }

  /// Goes on where the record says that earlier agents have stopped.
  private mutating func resumed(_ record: JobRecord, _ request: DelegationRequest, _ remote: JobID?) -> [Action] {
    // A job that got past DEPEND without a target was submitted while no plugin was there: it runs at home.
    if remote == nil, record.eventlog.contains(where: { $0.name == "depend" }),
      !record.eventlog.contains(where: { $0.name == "delegate::select" })
    {
      return end()
    }
    if let remote {
      if wasCancelled { return isConcluded(record) ? end() : cancelRemote(remote) }
      return request.mode == .mirror ? follow(remote) : release(remote)
    }
    if wasCancelled {
      guard !isNew else { return end() }
      return mayHaveLostChoices ? search() : target == nil ? end() : look()
    }
    return proceed()
  }

  private func isConcluded(_ record: JobRecord) -> Bool {
    record.eventlog.contains { $0.name == "exception" && $0.context?["type"]?.stringValue == "DelegationSuccess" }
  }

  /// The attempts that earlier agents have made, by the job's eventlog; and the target that the jobspec names.
  ///
  /// - Returns: the remote job of the present attempt.
  private mutating func recall(_ record: JobRecord) throws -> JobID? {
    if case .uri(let uri) = request?.selection { target = Target(uri: uri) }
    var remote: JobID?
    for entry in record.eventlog {
      let context = entry.context
      switch entry.name {
      case "delegate::select":
        let uri = try FluxURI(parsing: context?["uri"]?.stringValue ?? "")
        target = Target(uri: uri, label: context?["label"]?.stringValue)
        attempt = Mark.attempt(context?["attempt"])
        tried.insert(uri)
        hasSelected = true
        // From its choice on an attempt may have been sent.
        isNew = false
        remote = nil
      case "delegate::exception":
        failures.append(context?["note"]?.stringValue ?? "")
        // The mirror stays: what it has noted is of the last attempt, or of one after which the job goes on in RUN.
        countAttempt()
        remote = nil
      case "delegate::submit", "delegated": remote = JobID(context?["jobid"])
      default: break
      }
    }
    mirror.inherit()
    if request?.mode == .mirror, record.eventlog.contains(where: { $0.name == "delegate::submit" }) {
      mayHaveLogs = true
    }
    return remote
  }

  mutating func unreadable(_ words: String, _ isGone: Bool) -> [Action] {
    guard state == .reading else { return late("a failed look-up") }
    // Its eventlog has to be read as well from now on: time has passed.
    submission = nil
    // A job that has just been submitted may not be on record yet. Whether it is forgotten, the plugin says.
    return isGone && wasCancelled ? end() : pause(.read, words)
  }

  /// The most changes that are kept until the record is there; the oldest are in it for certain.
  private static let maximumEarlyChanges = 1000

  mutating func grown(_ entry: EventlogEntry) -> [Action] {
    let wasCancelledBefore = wasCancelled
    note(entry)
    if record == nil, entry.name == "urgency" || entry.name == "jobspec-update" {
      if earlyChanges.count >= Self.maximumEarlyChanges { earlyChanges.removeFirst() }
      earlyChanges.append(entry)
    }
    switch state {
    case .waiting where wasCancelled: return end()
    case .waiting: return proceed()
    case .pausing(.submit) where wasCancelled && isNew, .choosing where wasCancelled, .queueing where wasCancelled:
      return end()
    case .mirroring(let remote) where wasCancelled && !wasCancelledBefore: return cancelRemote(remote)
    case .mirroring: return advance()
    default: return []
    }
  }

  private mutating func note(_ entry: EventlogEntry) {
    mirror.note(origin: entry)
    control.note(origin: entry)
    switch entry.name {
    case "validate": isValidated = true
    case "dependency-add":
      if let name = entry.context?["description"]?.stringValue { addedDependencies.insert(name) }
    case "dependency-remove":
      if let name = entry.context?["description"]?.stringValue { removedDependencies.insert(name) }
    // What the mirror writes has no user; everybody else's exception has (job-manager.raise, job-exec).
    case "exception" where entry.context?["severity"]?.intValue == 0 && entry.context?["userid"] != nil:
      wasCancelled = true
      // The plugin judges the same way, before this event is passed on.
      if !DelegationRequest.endings.contains(entry.context?["type"]?.stringValue ?? "") { isKept = true }
    case "epilog-finish" where entry.context?["description"]?.stringValue == DelegationRequest.epilogDescription:
      isKept = false
    case "release": isKept = false
    default: break
    }
  }

  /// Goes on once the job is accepted and no other dependency holds it.
  private mutating func proceed() -> [Action] {
    let others = addedDependencies.subtracting(removedDependencies).subtracting([
      DelegationRequest.dependencyDescription
    ])
    guard isValidated, others.isEmpty else { return [] }
    guard record != nil else {
      state = .reading
      return [.read(submission)]
    }
    // Nothing can have been sent before a choice was made.
    guard target != nil else { return goOn() }
    if isNew { return hasToSelect ? select() : submit() }
    return mayHaveLostChoices ? search() : look()
  }

  /// The origin ends for good. Jobs that run are ended by itself, those that wait are not: both are cancelled, or left to their owner at the target.
  mutating func originEnds(_ orphans: Orphans) -> [Action] {
    guard !wasCancelled, state != .concluding, state != .ended else { return [] }
    // What its owner wants of it is not known yet.
    guard request != nil || isNew else {
      endsWith = orphans
      return []
    }
    if (request?.orphans ?? orphans) == .keep {
      keepsCopy = true
      return []
    }
    guard !mirror.hasBegun else { return [] }
    return [.cancelHere(note: "this instance is being shut down")]
  }

  /// Whether the target was lost, or the owner has cancelled, while a step of the mirror may be being written: its answer is the step's.
  private var isBesideAStep: Bool {
    switch state {
    case .pausing(.follow), .pausing(.mirror), .cancelling, .pausing(.cancel), .reconsidering(.follow): true
    default: false
    }
  }

  mutating func written() -> [Action] {
    guard !isBesideAStep else {
      stepDone()
      return []
    }
    tries = 0
    switch state {
    case .selecting:
      hasSelected = true
      if wasCancelled { return unselected() }
      guard let remote = foundCopy else { return submit() }
      foundCopy = nil
      return write(remote)
    case .recording(let remote): return recorded(remote)
    case .abandoning: return abandoned()
    case .renewing:
      mirror.renewed()
      return wasCancelled ? end() : goOn()
    case .concluding: return end()
    case .mirroring:
      stepDone()
      return advance()
    default: return late("a written event")
    }
  }

  private mutating func stepDone() {
    mirror.stepDone()
    // Its last step has let it go.
    if mirror.isClosed { isKept = false }
  }

  /// The remote job's id is on record: from now on it may run.
  private mutating func recorded(_ remote: JobID) -> [Action] {
    isOnRecord = true
    if wasCancelled { return cancelRemote(remote) }
    guard request?.mode == .mirror else { return release(remote) }
    var shown: JSONObject = ["target": .string(target?.name ?? ""), "jobid": .string(remote.encoded(.f58))]
    if attempt > 1 { shown["attempt"] = .int(Int64(attempt)) }
    if shownWait != nil { shown["waits"] = .null }
    shownWait = nil
    return [.annotate(["delegate": .object(shown)])] + follow(remote)
  }

  mutating func unwritten(_ words: String) -> [Action] {
    guard !isBesideAStep else {
      mirror.stepFailed()
      return []
    }
    switch state {
    case .selecting: return wasCancelled ? unselected() : pause(.select, words)
    case .recording(let remote):
      // The owner has cancelled meanwhile: the origin takes no more events, and the target's copy has to go.
      return wasCancelled ? cancelRemote(remote) : pause(.record(remote), words)
    case .abandoning(let failure): return wasCancelled ? end() : pause(.abandon(failure), words)
    case .renewing: return wasCancelled ? end() : pause(.renew, words)
    case .concluding: return wasCancelled ? overtaken() : pause(.conclude, words)
    case .mirroring(let remote):
      mirror.stepFailed()
      return pause(.mirror(remote), words)
    default: return late("a refused event")
    }
  }

  /// The job was ended before its own end was written. When that was its owner's doing, in the moment before its hand-off was complete, its copy
  /// goes as well.
  private mutating func overtaken() -> [Action] {
    guard isKept, case .success(let remote) = ending else { return end() }
    return cancelRemote(remote)
  }

  /// The job manager has forgotten the job, or forgets the plugin. Only a fatal exception, which comes before, says that the job is
  /// cancelled; without one nothing may be touched, for another agent takes over.
  mutating func gone() -> [Action] {
    guard wasCancelled else { return end(isHandedOver: true) }
    isKept = false
    switch state {
    // What is under way has to come back first: a copy may have to be cancelled.
    case .submitting, .looking, .searching, .recording, .releasing, .cancelling,
      .pausing(.look), .pausing(.search), .pausing(.record), .pausing(.release), .pausing(.cancel), .reconsidering:
      return []
    // The record can be read of a job that has ended as well, and tells whether a copy may be there.
    case .reading where !isNew, .pausing(.read) where !isNew: return []
    case .mirroring(let remote), .pausing(.follow(let remote)), .pausing(.mirror(let remote)):
      return mirror.isFinished ? end() : cancelRemote(remote)
    case .selecting where foundCopy != nil, .pausing(.select) where foundCopy != nil: return []
    case .concluding, .reading, .waiting, .choosing, .selecting, .queueing, .abandoning, .renewing, .pausing, .ended:
      return end()
    }
  }
}
