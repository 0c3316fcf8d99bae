// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the job's target says.
extension DelegatedJob {
  private var mark: Mark { Mark(origin: origin, id: id, submitted: record?.submitted ?? 0, attempt: 1) }

  /// A choice that the jobspec does not make has to be in the eventlog before anything is sent.
  var hasToSelect: Bool {
    if hasSelected { return false }
    guard request?.mode == .handOff, case .uri = request?.selection else { return true }
    return false
  }

  // MARK: Choosing

  mutating func choose() -> [Action] {
    guard let request else { return late("a choice without a request") }
    state = .choosing
    return [.choose(request.selection)]
  }

  mutating func chosen(_ target: Target) -> [Action] {
    guard state == .choosing else { return late("a choice") }
    tries = 0
    if wasCancelled { return end() }
    self.target = target
    return select()
  }

  mutating func unchoosable(_ words: String) -> [Action] {
    guard state == .choosing else { return late("a failed choice") }
    return wasCancelled ? end() : conclude(.failure(words))
  }

  mutating func select() -> [Action] {
    guard let target else { return late("a selection without a target") }
    state = .selecting
    var context: JSONObject = ["attempt": 1, "uri": .string(target.uri.description)]
    if let label = target.label { context["label"] = .string(label) }
    return [.post(name: "delegate::select", context: context)]
  }

  // MARK: Looking and submitting

  mutating func look() -> [Action] {
    guard let target, record != nil else { return late("a look without a record") }
    state = .looking
    return [.look(target.uri, mark)]
  }

  mutating func submit() -> [Action] {
    guard let target, let record else { return late("a submission without a record") }
    var jobspec = record.jobspec
    jobspec.removeDependencies()
    jobspec.removeDelegation()
    jobspec.set(attribute: "user.delegate", to: mark.json)
    state = .submitting
    return [.submit(target.uri, jobspec, urgency: record.urgency)]
  }

  mutating func found(_ remote: JobID?) -> [Action] {
    guard state == .looking else { return late("a search") }
    tries = 0
    if let remote { return accepted(remote) }
    if wasCancelled { return end() }
    return hasToSelect ? select() : submit()
  }

  mutating func accepted(_ remote: JobID) -> [Action] {
    guard state == .submitting || state == .looking else { return late("an acceptance") }
    tries = 0
    return wasCancelled ? cancelRemote(remote) : write(remote)
  }

  /// Writes that the target has the job.
  mutating func write(_ remote: JobID) -> [Action] {
    state = .recording(remote)
    guard request?.mode == .mirror else { return [.post(name: "delegated", context: ["jobid": remote.json])] }
    var context: JSONObject = ["jobid": remote.json]
    if let label = target?.label { context["label"] = .string(label) }
    context["uri"] = .string(target?.uri.description ?? "")
    context["attempt"] = 1
    return [.post(name: "delegate::submit", context: context)]
  }

  mutating func cancelRemote(_ remote: JobID) -> [Action] {
    guard let target else { return end() }
    state = .cancelling(remote)
    return [.cancel(target.uri, remote, note: "canceled at its origin, where it is \(id)")]
  }

  mutating func cancelledThere() -> [Action] {
    guard case .cancelling = state else { return late("a cancellation") }
    return end()
  }

  mutating func rejected(_ words: String) -> [Action] {
    guard state == .submitting else { return late("a rejection") }
    if wasCancelled { return end() }
    return conclude(.failure("\(target?.uri.description ?? ""): the target rejects the job: \(words)"))
  }

  /// Nothing was sent. A job that may be there already waits for as long as it takes; one that is not is given up in the end.
  mutating func unreachable(_ failure: TargetFailure) -> [Action] {
    switch state {
    case .looking: return pause(.look, failure.message)
    case .cancelling(let remote): return pause(.cancel(remote), failure.message)
    case .submitting, .choosing:
      if wasCancelled { return end() }
      guard failure.isTransient, tries + 1 < limits.attempts else { return conclude(.failure(failure.message)) }
      return pause(state == .choosing ? .choose : .submit, failure.message)
    default: return late("an unreachable target")
    }
  }

  /// It was sent, and may be there: from now on it is looked for.
  mutating func unanswered(_ failure: TargetFailure) -> [Action] {
    guard state == .submitting else { return late("a missing answer") }
    isNew = false
    return pause(.look, failure.message)
  }

  // MARK: Following

  mutating func follow(_ remote: JobID) -> [Action] {
    guard let target else { return late("a remote job without a target") }
    state = .mirroring(remote)
    mirror.restart()
    return [.follow(target.uri, remote)]
  }

  mutating func remote(_ event: RemoteEvent) -> [Action] {
    mirror.note(remote: event)
    guard case .mirroring = state else { return [] }
    return advance()
  }

  mutating func lost(_ failure: TargetFailure) -> [Action] {
    switch state {
    case .mirroring(let remote), .pausing(.mirror(let remote)): return pause(.follow(remote), failure.message)
    default: return []
    }
  }

  /// Does the mirror's next step, when none is under way.
  mutating func advance() -> [Action] {
    if let step = mirror.next(from: target?.name ?? "") { return [step] }
    return mirror.isOver ? end() : []
  }
}
