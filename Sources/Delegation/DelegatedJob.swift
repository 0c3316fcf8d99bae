// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// The life of one delegated job, as a value: an event in, a list of actions out.
///
/// It knows no clock, no connection and no task. Whatever it has not written to the origin's eventlog it must be able to find out
/// again, for its process may end between any two steps: a job that an earlier agent may have submitted is looked for on the
/// target by its ``Mark`` before it is submitted again.
///
/// Three kinds of event do not fit a state, and are told apart:
/// - a *race* (the owner cancels while the target answers): each state says what becomes of it;
/// - a *late answer* to something that was given up: changes nothing;
/// - *our own mistake* (an answer that was never asked for): changes nothing, and comes out as ``Action/complain(_:)``.
public struct DelegatedJob: Hashable, Sendable {
  /// The limits of the machine.
  public struct Limits: Hashable, Sendable {
    /// How often a target is tried that fails for a reason that may pass. Default 3.
    public var attempts = 3
    /// The first pause between two tries, in seconds; doubles from one to the next. Default 1.
    public var firstPause = 1.0
    /// The longest pause, in seconds. Default 60.
    public var longestPause = 60.0
    /// The defaults.
    public init() {}
  }

  /// Where the job stands.
  public enum State: Hashable, Sendable {
    /// It is known by its id; its record was asked for.
    case reading
    /// It is not accepted yet, or other dependencies hold it.
    case waiting
    /// It is looked for on the target, for an earlier submission may have got there.
    case looking
    /// It was sent to the target.
    case submitting
    /// The target has it; this is being written to the origin's eventlog.
    case recording(JobID)
    /// Its end is being written to the origin's eventlog.
    case concluding
    /// A pause before the next try.
    case pausing(Next)
    /// The remote copy of a job that its owner has cancelled is being cancelled.
    case cancelling(JobID)
    /// There is nothing left to do.
    case ended
  }

  /// What a pause is followed by.
  public enum Next: Hashable, Sendable {
    /// Reading the record.
    case read
    /// Looking for an earlier submission.
    case look
    /// Submitting.
    case submit
    /// Writing that the target has it.
    case record(JobID)
    /// Writing the end.
    case conclude
    /// Cancelling the remote copy.
    case cancel(JobID)
  }

  /// What has happened.
  public enum Event: Hashable, Sendable {
    /// The plugin has named the job. Not `isNew`: an earlier agent may have known it.
    case discovered(isNew: Bool)
    /// Its record was read.
    case read(JobRecord)
    /// Its record could not be read. `isGone`: the origin does not know it any more.
    case unreadable(String, isGone: Bool)
    /// Its eventlog has grown.
    case origin(EventlogEntry)
    /// The target was searched.
    case found(JobID?)
    /// The target has accepted it.
    case accepted(JobID)
    /// The target will not have it, in its words.
    case rejected(String)
    /// The target could not be asked; nothing was sent.
    case unreachable(TargetFailure)
    /// It was sent, and no answer came: it may be there or not.
    case unanswered(TargetFailure)
    /// The event was written to the origin's eventlog, or the exception raised.
    case written
    /// The origin did not take it.
    case unwritten(String)
    /// The remote copy was cancelled, or is not there.
    case cancelled
    /// The pause is over.
    case timer
    /// The origin has forgotten the job.
    case gone
  }

  /// What is to be done.
  public enum Action: Hashable, Sendable {
    /// Read the job's record.
    case read
    /// Look on the target for a job with this mark. Answer: found, unreachable.
    case look(FluxURI, Mark, JobRecord)
    /// Submit to the target. Answer: accepted, rejected, unreachable, unanswered.
    case submit(FluxURI, Jobspec, urgency: Int)
    /// Write an event to the job's eventlog. Answer: written, unwritten.
    case post(name: String, context: JSONObject)
    /// Raise an exception. Answer: written, unwritten.
    case raise(type: String, severity: Int, note: String)
    /// Cancel the remote job. Answer: cancelled, unreachable.
    case cancel(FluxURI, JobID, note: String)
    /// Send `timer` after so many seconds.
    case pause(Double)
    /// Say this in the log.
    case complain(String)
    /// Drop the machine.
    case forget
  }

  private enum Ending: Hashable, Sendable {
    case success(JobID)
    case failure(String)
  }

  /// The job's id at the origin.
  public let id: JobID
  /// Where it stands.
  public private(set) var state = State.reading
  /// Why it waits, in words, when it does.
  public private(set) var reason: String?
  private let origin: String
  private let limits: Limits
  private var isNew = false
  private var record: JobRecord?
  private var target: FluxURI?
  private var isValidated = false
  private var addedDependencies: Set<String> = []
  private var removedDependencies: Set<String> = []
  private var wasCancelled = false
  private var tries = 0
  private var ending: Ending?

  /// A job that nothing is known of but its id.
  ///
  /// - Parameter origin: where the origin instance is, for the mark.
  public init(id: JobID, origin: String, limits: Limits = Limits()) {
    self.id = id
    self.origin = origin
    self.limits = limits
  }

  /// Takes an event and says what to do.
  public mutating func handle(_ event: Event) -> [Action] {
    switch event {
    case .discovered(let isNew): return discovered(isNew)
    case .read(let record): return read(record)
    case .unreadable(let words, let isGone): return unreadable(words, isGone)
    case .origin(let entry): return grown(entry)
    case .found(let id): return found(id)
    case .accepted(let id): return accepted(id)
    case .rejected(let words): return rejected(words)
    case .unreachable(let failure): return unreachable(failure)
    case .unanswered(let failure): return unanswered(failure)
    case .written: return written()
    case .unwritten(let words): return unwritten(words)
    case .cancelled: return end(in: state)
    case .timer: return resume()
    case .gone: return gone()
    }
  }

  // MARK: The origin

  private mutating func discovered(_ isNew: Bool) -> [Action] {
    self.isNew = isNew
    // A job that has just been submitted is read when it is accepted: until then its record is not there.
    guard isNew else { return [.read] }
    state = .waiting
    return []
  }

  private mutating func read(_ record: JobRecord) -> [Action] {
    guard state == .reading else { return late("a record") }
    self.record = record
    tries = 0
    state = .waiting
    // What is noted only ever grows, so it does not matter that events may have come before the record they are also in.
    for entry in record.eventlog { note(entry) }
    do { try choose(record) } catch { return conclude(.failure("\(error)")) }
    if let remote = record.eventlog.last(where: { $0.name == "delegated" })?.context?["jobid"] {
      guard let id = JobID(remote) else { return conclude(.failure("the event 'delegated' names no job id")) }
      return wasCancelled ? end() : conclude(.success(id))
    }
    if wasCancelled { return isNew ? end() : look() }
    return proceed()
  }

  private mutating func choose(_ record: JobRecord) throws {
    guard let wish = record.jobspec.dependencies.first(where: { $0.scheme == DelegationRequest.scheme }) else {
      throw TargetFailure("the job asks for no delegation", isTransient: false)
    }
    switch try DelegationRequest(dependency: wish).selection {
    case .uri(let uri): target = uri
    }
  }

  private mutating func unreadable(_ words: String, _ isGone: Bool) -> [Action] {
    guard state == .reading else { return late("a failed look-up") }
    return isGone ? end() : pause(.read, words)
  }

  private mutating func grown(_ entry: EventlogEntry) -> [Action] {
    note(entry)
    switch state {
    case .waiting where wasCancelled: return end()
    case .waiting: return proceed()
    case .pausing(.submit) where wasCancelled && isNew: return end()
    default: return []
    }
  }

  private mutating func note(_ entry: EventlogEntry) {
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
    return isNew ? submit() : look()
  }

  // MARK: The target

  private var mark: Mark { Mark(origin: origin, id: id, submitted: record?.submitted ?? 0, attempt: 1) }

  private mutating func look() -> [Action] {
    guard let target, let record else { return late("a look without a record") }
    state = .looking
    return [.look(target, mark, record)]
  }

  private mutating func submit() -> [Action] {
    guard let target, let record else { return late("a submission without a record") }
    var jobspec = record.jobspec
    jobspec.removeDependencies()
    jobspec.set(attribute: "user.delegate", to: mark.json)
    state = .submitting
    return [.submit(target, jobspec, urgency: record.urgency)]
  }

  private mutating func found(_ remote: JobID?) -> [Action] {
    guard state == .looking else { return late("a search") }
    tries = 0
    if let remote { return accepted(remote) }
    return wasCancelled ? end() : submit()
  }

  private mutating func accepted(_ remote: JobID) -> [Action] {
    guard state == .submitting || state == .looking else { return late("an acceptance") }
    tries = 0
    if wasCancelled { return cancelRemote(remote) }
    state = .recording(remote)
    return [.post(name: "delegated", context: ["jobid": remote.json])]
  }

  private mutating func cancelRemote(_ remote: JobID) -> [Action] {
    guard let target else { return end() }
    state = .cancelling(remote)
    return [.cancel(target, remote, note: "canceled at its origin, where it is \(id)")]
  }

  private mutating func rejected(_ words: String) -> [Action] {
    guard state == .submitting else { return late("a rejection") }
    if wasCancelled { return end() }
    return conclude(.failure("\(target?.description ?? ""): the target rejects the job: \(words)"))
  }

  /// Nothing was sent. A job that may be there already waits for as long as it takes; one that is not is given up in the end.
  private mutating func unreachable(_ failure: TargetFailure) -> [Action] {
    switch state {
    case .looking: return pause(.look, failure.message)
    case .cancelling(let remote): return pause(.cancel(remote), failure.message)
    case .submitting:
      if wasCancelled { return end() }
      guard failure.isTransient, tries + 1 < limits.attempts else { return conclude(.failure(failure.message)) }
      return pause(.submit, failure.message)
    default: return late("an unreachable target")
    }
  }

  /// It was sent, and may be there: from now on it is looked for.
  private mutating func unanswered(_ failure: TargetFailure) -> [Action] {
    guard state == .submitting else { return late("a missing answer") }
    isNew = false
    return pause(.look, failure.message)
  }

  // MARK: The end

  private mutating func conclude(_ ending: Ending) -> [Action] {
    self.ending = ending
    state = .concluding
    switch ending {
    case .success(let remote):
      let note = "\(target?.description ?? "") has accepted the job as \(remote)"
      return [.raise(type: "DelegationSuccess", severity: 0, note: note)]
    case .failure(let words): return [.raise(type: "DelegationFailure", severity: 0, note: words)]
    }
  }

  private mutating func written() -> [Action] {
    tries = 0
    switch state {
    case .recording(let remote): return conclude(.success(remote))
    case .concluding: return end()
    default: return late("a written event")
    }
  }

  private mutating func unwritten(_ words: String) -> [Action] {
    switch state {
    case .recording(let remote):
      // The owner has cancelled meanwhile: the origin takes no more events, and the target's copy has to go.
      return wasCancelled ? cancelRemote(remote) : pause(.record(remote), words)
    case .concluding: return wasCancelled ? end() : pause(.conclude, words)
    default: return late("a refused event")
    }
  }

  private mutating func gone() -> [Action] {
    wasCancelled = true
    switch state {
    // What is under way has to come back first: a copy may have to be cancelled.
    case .submitting, .looking, .recording, .cancelling, .pausing(.look), .pausing(.record), .pausing(.cancel):
      return []
    case .concluding, .reading, .waiting, .pausing, .ended: return end()
    }
  }

  private mutating func end(in state: State) -> [Action] {
    guard case .cancelling = state else { return late("a cancellation") }
    return end()
  }

  private mutating func end() -> [Action] {
    guard state != .ended else { return [] }
    state = .ended
    reason = nil
    return [.forget]
  }

  // MARK: Pauses

  private mutating func pause(_ next: Next, _ words: String) -> [Action] {
    reason = words
    let pause = min(limits.firstPause * Double(1 << min(tries, 16)), limits.longestPause)
    tries += 1
    state = .pausing(next)
    return [.pause(pause)]
  }

  private mutating func resume() -> [Action] {
    guard case .pausing(let next) = state else { return [] }
    reason = nil
    switch next {
    case .read:
      state = .reading
      return [.read]
    case .look: return look()
    case .submit: return wasCancelled ? end() : submit()
    case .record(let remote):
      if wasCancelled { return cancelRemote(remote) }
      state = .recording(remote)
      return [.post(name: "delegated", context: ["jobid": remote.json])]
    case .conclude: return ending.map { conclude($0) } ?? end()
    case .cancel(let remote): return cancelRemote(remote)
    }
  }

  private func late(_ what: String) -> [Action] {
    state == .ended ? [] : [.complain("\(id): \(what) came in state \(state)")]
  }
}
