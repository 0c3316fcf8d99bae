// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the origin instance says of the job, and what is written there.
extension DelegatedJob {
  mutating func discovered(_ isNew: Bool) -> [Action] {
    self.isNew = isNew
    // A job that has just been submitted is read when it is accepted: until then its record is not there.
    guard isNew else { return [.read] }
    state = .waiting
    return []
  }

  mutating func read(_ record: JobRecord) -> [Action] {
    guard state == .reading else { return late("a record") }
    self.record = record
    tries = 0
    state = .waiting
    // What is noted only ever grows, so it does not matter that events may have come before the record they are also in.
    for entry in record.eventlog { note(entry) }
    do {
      request = try DelegationRequest(jobspec: record.jobspec)
      try recall(record)
    } catch { return conclude(.failure("\(error)")) }
    guard let request else { return conclude(.failure("the job asks for no delegation")) }
    // A job that got past DEPEND without a target was submitted while no plugin was there: it runs at home.
    if remoteID(record) == nil, record.eventlog.contains(where: { $0.name == "depend" }) { return end() }
    if let remote = remoteID(record) {
      if request.mode == .mirror { return wasCancelled ? cancelRemote(remote) : follow(remote) }
      return wasCancelled ? end() : conclude(.success(remote))
    }
    if wasCancelled { return isNew || target == nil ? end() : look() }
    return proceed()
  }

  /// The target that an earlier agent has chosen, or that the jobspec names.
  private mutating func recall(_ record: JobRecord) throws {
    if case .uri(let uri) = request?.selection { target = Target(uri: uri) }
    guard let choice = record.eventlog.last(where: { $0.name == "delegate::select" })?.context else { return }
    let label = choice["label"]?.stringValue
    target = Target(uri: try FluxURI(parsing: choice["uri"]?.stringValue ?? ""), label: label)
    hasSelected = true
  }

  /// The remote job's id, when the eventlog has it.
  private func remoteID(_ record: JobRecord) -> JobID? {
    JobID(record.eventlog.last { $0.name == "delegated" || $0.name == "delegate::submit" }?.context?["jobid"])
  }

  mutating func unreadable(_ words: String, _ isGone: Bool) -> [Action] {
    guard state == .reading else { return late("a failed look-up") }
    // A job that has just been submitted may not be on record yet. Whether it is forgotten, the plugin says.
    return isGone && wasCancelled ? end() : pause(.read, words)
  }

  mutating func grown(_ entry: EventlogEntry) -> [Action] {
    let wasCancelledBefore = wasCancelled
    note(entry)
    switch state {
    case .waiting where wasCancelled: return end()
    case .waiting: return proceed()
    case .pausing(.submit) where wasCancelled && isNew: return end()
    case .mirroring(let remote) where wasCancelled && !wasCancelledBefore && !mirror.isOwnException(entry):
      return cancelRemote(remote)
    default: return []
    }
  }

  private mutating func note(_ entry: EventlogEntry) {
    mirror.note(origin: entry)
    switch entry.name {
    case "validate": isValidated = true
    case "dependency-add":
      if let name = entry.context?["description"]?.stringValue { addedDependencies.insert(name) }
    case "dependency-remove":
      if let name = entry.context?["description"]?.stringValue { removedDependencies.insert(name) }
    case "exception" where entry.context?["severity"]?.intValue == 0: wasCancelled = true
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
      return [.read]
    }
    // Nothing can have been sent before a choice was made.
    guard target != nil else { return choose() }
    if isNew { return hasToSelect ? select() : submit() }
    return look()
  }

  mutating func written() -> [Action] {
    switch state {
    case .pausing(.follow), .pausing(.mirror), .cancelling:
      // The target was lost, or the owner has cancelled, while a step was being written.
      mirror.stepDone()
      return []
    default: tries = 0
    }
    switch state {
    case .selecting:
      hasSelected = true
      return wasCancelled ? end() : submit()
    case .recording(let remote):
      return request?.mode == .mirror ? follow(remote) : conclude(.success(remote))
    case .concluding: return end()
    case .mirroring:
      mirror.stepDone()
      return advance()
    default: return late("a written event")
    }
  }

  mutating func unwritten(_ words: String) -> [Action] {
    switch state {
    case .selecting: return wasCancelled ? end() : pause(.select, words)
    case .recording(let remote):
      // The owner has cancelled meanwhile: the origin takes no more events, and the target's copy has to go.
      return wasCancelled ? cancelRemote(remote) : pause(.record(remote), words)
    case .concluding: return wasCancelled ? end() : pause(.conclude, words)
    case .mirroring(let remote):
      mirror.stepFailed()
      return wasCancelled ? cancelRemote(remote) : pause(.mirror(remote), words)
    case .pausing(.mirror), .pausing(.follow), .cancelling:
      mirror.stepFailed()
      return []
    default: return late("a refused event")
    }
  }

  /// The job manager has forgotten the job, or forgets the plugin. Only a fatal exception, which comes before, says that the job is
  /// cancelled; without one nothing may be touched, for another agent takes over.
  mutating func gone() -> [Action] {
    guard wasCancelled else { return end() }
    switch state {
    // What is under way has to come back first: a copy may have to be cancelled.
    case .submitting, .looking, .recording, .cancelling, .pausing(.look), .pausing(.record), .pausing(.cancel):
      return []
    // The record can be read of a job that has ended as well, and tells whether a copy may be there.
    case .reading where !isNew, .pausing(.read) where !isNew: return []
    case .mirroring(let remote), .pausing(.follow(let remote)), .pausing(.mirror(let remote)):
      return mirror.isFinished ? end() : cancelRemote(remote)
    case .concluding, .reading, .waiting, .choosing, .selecting, .pausing, .ended: return end()
    }
  }
}
