// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the job's target says, from the choice to the acceptance.
extension DelegatedJob {
  private var mark: Mark { Mark(origin: origin, id: id, submitted: record?.submitted ?? 0, attempt: attempt) }

  /// A choice that the jobspec does not make has to be in the eventlog before anything is sent.
  var hasToSelect: Bool {
    if hasSelected { return false }
    guard request?.mode == .handOff, case .uri = request?.selection else { return true }
    return false
  }

  // MARK: Choosing

  /// Whether the origin was restarted since the job was submitted: what it wrote last may be gone, a choice as well.
  /// Where there is only one target to choose, it is enough to look there.
  var mayHaveLostChoices: Bool {
    guard let record, let request, !hasSearched, record.submitted < originStart else { return false }
    if case .uri = request.selection { return false }
    return true
  }

  mutating func choose() -> [Action] {
    guard let request else { return late("a choice without a request") }
    if mayHaveLostChoices { return search() }
    state = .choosing
    isChoiceAsked = true
    isAdmitted = false
    return [.choose(request, excluding: tried)]
  }

  mutating func chosen(_ target: Target) -> [Action] {
    if case .reconsidering(let next) = state { return reconsidered(target, instead: next) }
    guard state == .choosing else { return late("a choice") }
    tries = 0
    reason = nil
    if wasCancelled { return end() }
    self.target = target
    return select()
  }

  mutating func unchoosable(_ words: String) -> [Action] {
    if case .reconsidering(let next) = state { return nowhereElse(next) }
    guard state == .choosing else { return late("a failed choice") }
    return wasCancelled ? end() : conclude(.failure(failures.isEmpty ? words : story))
  }

  mutating func select() -> [Action] {
    guard let target else { return late("a selection without a target") }
    state = .selecting
    tried.insert(target.uri)
    var context: JSONObject = ["attempt": .int(Int64(attempt)), "uri": .string(target.uri.description)]
    if let label = target.label { context["label"] = .string(label) }
    return [.post(name: "delegate::select", context: context)]
  }

  // MARK: Looking and submitting

  mutating func search() -> [Action] {
    guard record != nil else { return late("a search without a record") }
    state = .searching
    return [.search(mark)]
  }

  /// A copy that the origin had forgotten is on record again, before anything else happens with it.
  mutating func found(_ remote: JobID, at place: Target, _ number: Int) -> [Action] {
    guard state == .searching else { return late("a search") }
    tries = 0
    reason = nil
    hasSearched = true
    isNew = false
    let isOnRecord = hasSelected && target?.uri == place.uri && attempt == number
    target = place
    attempt = max(attempt, number)
    foundCopy = remote
    if wasCancelled { return unselected() }
    guard isOnRecord else { return select() }
    foundCopy = nil
    return write(remote)
  }

  /// Its owner has cancelled it before its choice was of use.
  mutating func unselected() -> [Action] {
    guard let remote = foundCopy else { return end() }
    foundCopy = nil
    return cancelRemote(remote)
  }

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
    control.apply(to: &jobspec)
    if request?.mode == .mirror, let files = OutputFiles(jobspec, id: id) {
      if let words = files.refusal { return conclude(.failure(words)) }
      OutputFiles.remove(from: &jobspec)
    }
    jobspec.set(attribute: "user.delegate", to: mark.json)
    state = .submitting
    isAdmitted = false
    return [.submit(target.uri, jobspec)]
  }

  mutating func found(_ remote: JobID?) -> [Action] {
    if state == .searching, remote == nil {
      tries = 0
      hasSearched = true
      // The target on record may not be one of those that are configured now.
      if hasSelected { return look() }
      reason = nil
      return wasCancelled ? end() : choose()
    }
    guard state == .looking else { return late("a search") }
    tries = 0
    reason = nil
    seen()
    if let remote { return accepted(remote) }
    if wasCancelled { return end() }
    return hasToSelect ? select() : submit()
  }

  mutating func accepted(_ remote: JobID) -> [Action] {
    guard state == .submitting || state == .looking else { return late("an acceptance") }
    tries = 0
    reason = nil
    seen()
    return wasCancelled ? cancelRemote(remote) : write(remote)
  }

  /// Writes that the target has the job.
  mutating func write(_ remote: JobID) -> [Action] {
    state = .recording(remote)
    guard request?.mode == .mirror else { return [.post(name: "delegated", context: ["jobid": remote.json])] }
    var context: JSONObject = ["jobid": remote.json]
    if let label = target?.label { context["label"] = .string(label) }
    context["uri"] = .string(target?.uri.description ?? "")
    context["attempt"] = .int(Int64(attempt))
    return [.post(name: "delegate::submit", context: context)]
  }

  /// The end of a hand-off: the remote job, which was submitted held, may run.
  mutating func release(_ remote: JobID) -> [Action] {
    guard let target else { return late("a release without a target") }
    guard control.urgency != 0 else { return conclude(.success(remote)) }
    state = .releasing(remote)
    return [.control(target.uri, remote, .urgency(control.urgency))]
  }

  // MARK: Cancelling

  mutating func cancelRemote(_ remote: JobID) -> [Action] {
    guard let target, !(keepsCopy && isOnRecord) else { return end() }
    state = .cancelling(remote)
    return [.cancel(target.uri, remote, note: "canceled at its origin, where it is \(id)")]
  }

  mutating func cancelledThere() -> [Action] {
    guard case .cancelling(let remote) = state else { return late("a cancellation") }
    reason = nil
    // A job that runs at home as well has its end from its target, as always.
    // A copy that is not on record has never been released.
    guard mirror.hasBegun, isKept, isOnRecord else { return end() }
    guard isFollowing else { return follow(remote) }
    state = .mirroring(remote)
    return advance()
  }

  // MARK: Failures

  mutating func rejected(_ words: String) -> [Action] {
    guard state == .submitting else { return late("a rejection") }
    if wasCancelled { return end() }
    return fail("\(target?.uri.description ?? ""): the target rejects the job: \(words)")
  }

  /// Nothing was sent. A job that may be there already waits for as long as it takes; one that is not is given up in the end.
  mutating func unreachable(_ failure: TargetFailure) -> [Action] {
    switch state {
    case .looking: return unseen(.look, failure.message)
    case .searching: return pause(.search, failure.message)
    case .cancelling(let remote): return pause(.cancel(remote), failure.message)
    case .submitting:
      if wasCancelled { return end() }
      guard failure.isTransient, tries + 1 < limits.tries else { return fail(failure.message) }
      return pause(.submit, failure.message)
    default: return late("an unreachable target")
    }
  }

  /// It was sent, and may be there: from now on it is looked for.
  mutating func unanswered(_ failure: TargetFailure) -> [Action] {
    guard state == .submitting else { return late("a missing answer") }
    isNew = false
    return unseen(.look, failure.message)
  }

  // MARK: Another attempt

  /// This attempt has failed, and no copy of it can run: the next target is tried, when there may be one.
  mutating func fail(_ words: String) -> [Action] {
    guard mayTryAnother else {
      failures.append(named(words))
      return conclude(.failure(failures.count == 1 ? words : story))
    }
    return abandon(named(words))
  }

  var mayTryAnother: Bool {
    guard let request else { return false }
    return request.selection.hasAlternatives && attempt < request.attempts
  }

  /// Writes that the attempt has failed; only then may there be another.
  mutating func abandon(_ words: String) -> [Action] {
    state = .abandoning(words)
    var context: JSONObject = ["attempt": .int(Int64(attempt)), "uri": .string(target?.uri.description ?? "")]
    if let label = target?.label { context["label"] = .string(label) }
    context["note"] = .string(words.cut(to: Self.maximumNoteLength))
    return [.post(name: "delegate::exception", context: context)]
  }

  /// Starts anew, with another target. Nothing was ever sent to it, for there is no choice on record yet.
  mutating func nextAttempt() {
    // As it is on record: so an agent that comes later has it.
    if case .abandoning(let words) = state { failures.append(words.cut(to: Self.maximumNoteLength)) }
    countAttempt()
    isFollowing = false
    tries = 0
    mirror = mirror.ofNextAttempt
    control.restart(isRunning: mirror.hasBegun)
  }

  /// The attempt so far is over.
  mutating func countAttempt() {
    attempt += 1
    target = nil
    hasSelected = false
    hasSearched = false
    isOnRecord = false
    isNew = true
    isUnknown = false
    seen()
  }

  func named(_ words: String) -> String {
    guard let label = target?.label, !words.hasPrefix(label) else { return words }
    return "\(label): \(words)"
  }

  /// What was tried, in words.
  private var story: String {
    let count = failures.count == 1 ? "1 target was tried" : "\(failures.count) targets were tried"
    return "\(count): \(failures.joined(separator: "; "))"
  }
}
