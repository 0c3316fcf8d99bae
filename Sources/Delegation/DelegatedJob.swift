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
    /// A target is being chosen.
    case choosing
    /// The choice is being written to the origin's eventlog.
    case selecting
    /// It is looked for on the target, for an earlier submission may have got there.
    case looking
    /// It was sent to the target.
    case submitting
    /// The target has it; this is being written to the origin's eventlog.
    case recording(JobID)
    /// The remote job is followed; the origin job does what it does.
    case mirroring(JobID)
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
    /// Choosing a target.
    case choose
    /// Writing the choice.
    case select
    /// Looking for an earlier submission.
    case look
    /// Following the remote job.
    case follow(JobID)
    /// The next step of the mirror.
    case mirror(JobID)
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
    /// Its record could not be read. `isGone`: the origin does not know it, no longer or not yet.
    case unreadable(String, isGone: Bool)
    /// Its record was read, and means nothing.
    case unusable(String)
    /// Its eventlog has grown.
    case origin(EventlogEntry)
    /// A target was chosen.
    case chosen(Target)
    /// There is no target to choose, for this reason.
    case unchoosable(String)
    /// The target was searched.
    case found(JobID?)
    /// Something has happened to the remote job.
    case remote(RemoteEvent)
    /// The remote job can no longer be followed.
    case lost(TargetFailure)
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
    /// Choose a target. Answer: chosen, unchoosable, unreachable.
    case choose(DelegationRequest.Selection)
    /// Follow the remote job to its end, and pass its output on to the origin job. Answers: remote, lost.
    case follow(FluxURI, JobID)
    /// Give the origin job the remote job's resources, and let it go to RUN. Answer: written, unwritten.
    case allocate(ResourceSet)
    /// Have the origin job's execution start, without running anything. Answer: written, unwritten.
    case start
    /// Have the origin job's execution end. Answer: written, unwritten.
    case finish(WaitStatus)
    /// Look on the target for a job with this mark. Answer: found, unreachable.
    case look(FluxURI, Mark)
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

  enum Ending: Hashable, Sendable {
    case success(JobID)
    case failure(String)
  }

  /// The job's id at the origin.
  public let id: JobID
  /// Where it stands.
  public internal(set) var state = State.reading
  /// Why it waits, in words, when it does.
  public internal(set) var reason: String?
  /// Where it goes, once that is known.
  public internal(set) var target: Target?
  let origin: String
  let limits: Limits
  var isNew = false
  var record: JobRecord?
  var request: DelegationRequest?
  var mirror = JobMirror()
  var hasSelected = false
  var isValidated = false
  var addedDependencies: Set<String> = []
  var removedDependencies: Set<String> = []
  var wasCancelled = false
  var tries = 0
  var ending: Ending?

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
    case .unusable(let words): return state == .reading ? conclude(.failure(words)) : late("a record")
    case .origin(let entry): return grown(entry)
    case .chosen(let target): return chosen(target)
    case .unchoosable(let words): return unchoosable(words)
    case .found(let id): return found(id)
    case .accepted(let id): return accepted(id)
    case .rejected(let words): return rejected(words)
    case .unreachable(let failure): return unreachable(failure)
    case .unanswered(let failure): return unanswered(failure)
    case .remote(let event): return remote(event)
    case .lost(let failure): return lost(failure)
    case .written: return written()
    case .unwritten(let words): return unwritten(words)
    case .cancelled: return cancelledThere()
    case .timer: return resume()
    case .gone: return gone()
    }
  }

  // MARK: The end

  mutating func conclude(_ ending: Ending) -> [Action] {
    self.ending = ending
    state = .concluding
    switch ending {
    case .success(let remote):
      let note = "\(target?.uri.description ?? "") has accepted the job as \(remote)"
      return [.raise(type: "DelegationSuccess", severity: 0, note: note)]
    case .failure(let words): return [.raise(type: "DelegationFailure", severity: 0, note: words)]
    }
  }

  mutating func end() -> [Action] {
    guard state != .ended else { return [] }
    state = .ended
    reason = nil
    return [.forget]
  }

  // MARK: Pauses

  mutating func pause(_ next: Next, _ words: String) -> [Action] {
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
    case .choose: return wasCancelled ? end() : choose()
    case .select: return wasCancelled ? end() : select()
    case .look: return look()
    case .submit: return wasCancelled ? end() : submit()
    case .record(let remote): return wasCancelled ? cancelRemote(remote) : write(remote)
    case .conclude: return ending.map { conclude($0) } ?? end()
    case .cancel(let remote): return cancelRemote(remote)
    case .follow(let remote): return wasCancelled ? cancelRemote(remote) : follow(remote)
    case .mirror(let remote):
      state = .mirroring(remote)
      return wasCancelled ? cancelRemote(remote) : advance()
    }
  }

  func late(_ what: String) -> [Action] {
    state == .ended ? [] : [.complain("\(id): \(what) came in state \(state)")]
  }
}
