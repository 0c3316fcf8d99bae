// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// The life of one delegated job, as a value: an event in, a list of actions out.
///
/// It knows no clock, no connection and no task. Whatever it has not written to the origin's eventlog it must be able to find out
/// again, for its process may end between any two steps: a job that an earlier agent may have submitted is looked for on the
/// target by its ``Mark`` before it is submitted again; and what was submitted is held there until its id is on record here.
///
/// Three kinds of event do not fit a state, and are told apart:
/// - a *race* (the owner cancels while the target answers): each state says what becomes of it;
/// - a *late answer* to something that was given up: changes nothing;
/// - *our own mistake* (an answer that was never asked for): changes nothing, and comes out as ``Action/complain(_:)``.
public struct DelegatedJob: Hashable, Sendable {
  /// The limits of the machine.
  public struct Limits: Hashable, Sendable {
    /// How often a target is tried that fails for a reason that may pass. Default 3.
    public var tries = 3
    /// The first pause between two tries, in seconds; doubles from one to the next. Default 1.
    public var firstPause = 1.0
    /// The longest pause, in seconds. Default 60.
    public var longestPause = 60.0
    /// By how much of itself a pause is shorter or longer. Default 0.25.
    public var jitter = 0.25
    /// The defaults.
    public init() {}
  }

  /// Where the job stands.
  public enum State: Hashable, Sendable {
    /// It is known by its id; its record was asked for.
    case reading
    /// It is not accepted yet, or other dependencies hold it.
    case waiting
    /// It is looked for on all targets: the origin was restarted since, and may have lost the choice.
    case searching
    /// A target is being chosen.
    case choosing
    /// The choice is being written to the origin's eventlog.
    case selecting
    /// It is looked for on the target, for an earlier submission may have got there.
    case looking
    /// It was sent to the target.
    case submitting
    /// The target has a limit, or takes no jobs for a while: nothing was sent.
    case queueing
    /// The target has it, held; this is being written to the origin's eventlog.
    case recording(JobID)
    /// It is being released at the target, after which its hand-off is complete.
    case releasing(JobID)
    /// The remote job is followed; the origin job does what it does.
    case mirroring(JobID)
    /// The target has failed, which is being written to the origin's eventlog; another one is tried next.
    case abandoning(String)
    /// Its end is being written to the origin's eventlog.
    case concluding
    /// The owner's patience with a target that cannot be seen is over: it is asked whether another one can take the job.
    case reconsidering(Next)
    /// The logs of a job that is to run once more, elsewhere, are being emptied.
    case renewing
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
    /// Looking on all targets.
    case search
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
    /// Releasing it at the target.
    case release(JobID)
    /// Writing that the target has failed.
    case abandon(String)
    /// Emptying the logs.
    case renew
    /// Writing the end.
    case conclude
    /// Cancelling the remote copy.
    case cancel(JobID)
  }

  /// What has happened.
  public enum Event: Hashable, Sendable {
    /// The plugin has named the job. Not `isNew`: an earlier agent may have known it. `submission`: all that its eventlog says so far.
    case discovered(isNew: Bool, Submission? = nil)
    /// Its record was read.
    case read(JobRecord)
    /// Its record could not be read. `isGone`: the origin does not know it, no longer or not yet.
    case unreadable(String, isGone: Bool)
    /// Its record was read, and means nothing.
    case unusable(String)
    /// Its eventlog has grown.
    case origin(EventlogEntry)
    /// Its owner has sent a signal to its processes.
    case signal(Int)
    /// A target was chosen.
    case chosen(Target)
    /// There is no target to choose, for this reason.
    case unchoosable(String)
    /// The target, or all that there are, take no jobs now, for this reason: nothing was sent.
    case deferred(String)
    /// What has deferred it may be over.
    case admissible
    /// The job's target, or one of those that it is looked for at, is connected again.
    case reachable
    /// The patience with this number is over.
    case impatient(Int)
    /// The target was searched.
    case found(JobID?)
    /// All targets were searched, and this one has a copy, of that attempt.
    case foundAt(Target, JobID, attempt: Int)
    /// The target has accepted it.
    case accepted(JobID)
    /// The target will not have it, in its words.
    case rejected(String)
    /// The target could not be asked; nothing was sent.
    case unreachable(TargetFailure)
    /// It was sent, and no answer came: it may be there or not.
    case unanswered(TargetFailure)
    /// The remote job is followed from now on.
    case following
    /// This has happened to the remote job.
    case remote([RemoteEvent])
    /// The remote job can no longer be followed.
    case lost(TargetFailure)
    /// The origin job's resources are in the KVS, or cannot be written.
    case stored
    /// All output of the remote job, which has ended, is in the origin's log.
    case copied
    /// The output can no longer be copied.
    case copyLost(TargetFailure)
    /// The target has done what it was told, or has refused it.
    case controlled
    /// The target does not know the remote job any more. With its words.
    case forgotten(String)
    /// What the target was to be told may not have reached it.
    case uncontrolled(TargetFailure)
    /// The event was written to the origin's eventlog, or the exception raised.
    case written
    /// The origin did not take it.
    case unwritten(String)
    /// The remote copy was cancelled, or is not there.
    case cancelled
    /// The origin is being shut down, and will not come back; what the target's entry says of its orphans.
    case ending(Orphans?)
    /// The pause is over.
    case timer
    /// The origin has forgotten the job.
    case gone
  }

  /// What the owner asks of a remote job.
  public enum Control: Hashable, Sendable {
    /// Set its urgency, 0 to 31.
    case urgency(Int)
    /// Update its jobspec: dotted paths and their values.
    case update(JSONObject)
    /// Send a signal to its processes.
    case signal(Int)
  }

  /// What there is to copy.
  public enum Output: Hashable, Sendable {
    /// That of a job which has just started, or ran for less than a second; nothing of it was copied.
    case new
    /// Perhaps much; nothing of it was copied.
    case long
    /// Some of it may have been copied already.
    case rest
  }

  /// What an earlier agent has opened at the origin job, by the eventlog as it was read: what its own plugin has opened, that knows.
  public struct Holds: Hashable, Sendable {
    /// The prolog that a mirrored job runs in.
    public var prolog = false
    /// The epilog that keeps an ended job in CLEANUP.
    public var epilog = false
    /// Nothing.
    public init() {}
  }

  /// What is to be done.
  public enum Action: Hashable, Sendable {
    /// Read the job's record; of one that has just been submitted, with this on record so far, the jobspec alone.
    case read(Submission?)
    /// Choose a target, but none of those. `isReachable`: one that is connected. Answer: chosen, unchoosable, deferred.
    case choose(DelegationRequest, excluding: Set<FluxURI>, isReachable: Bool = false)
    /// Look on the target for a job with this mark. Answer: found, unreachable.
    case look(FluxURI, Mark)
    /// Look on all targets that are configured for a job with this mark, of this attempt or a later one. Answer: foundAt, found(nil), unreachable.
    case search(Mark)
    /// Submit to the target, held. Answer: accepted, rejected, unreachable, unanswered, deferred.
    case submit(FluxURI, Jobspec)
    /// Tell what happens to the remote job until it is over. Answers: following, remote, lost.
    case follow(FluxURI, JobID)
    /// Tell no more of it.
    case unfollow(FluxURI, JobID)
    /// Copy the remote job's output to the origin's log, or to its owner's files, to its end. Answers: copied, copyLost.
    case copy(FluxURI, JobID, Output, OutputFiles? = nil)
    /// Tell the target what the owner wants of the remote job. Answers: controlled, forgotten, uncontrolled.
    case control(FluxURI, JobID, Control)
    /// Show this of the job in listings, as long as it lasts. No answer.
    case annotate(JSONObject)
    /// Write what the remote job says of itself to the origin job's eventlog. No answer.
    case memo(JSONObject)
    /// Make the origin job's logs, for when it runs. Answer: written, unwritten.
    case prepare
    /// Remove them: it never ran. No answer.
    case discard
    /// Empty the origin job's logs: it runs once more, elsewhere. Answer: written, unwritten.
    case renew
    /// Write the origin job's resources to the KVS. `isInherited`: its logs may be there already. Answer: stored.
    case store(RemoteResources, isInherited: Bool)
    /// Give the origin job the remote job's resources, and let it go to RUN. `started`: when the remote job did, if that is not on record yet;
    /// `isHeld`: its prolog is open already; `target`: what is shown of it in listings. Answer: written, unwritten.
    case allocate(RemoteResources, started: Double?, isHeld: Bool, target: String)
    /// Write that the origin job, which has got its resources from an earlier agent, has started. Answer: written, unwritten.
    case start
    /// Write that the origin job has ended. Answer: written, unwritten.
    case finish(WaitStatus)
    /// Put the origin job's logs, which are whole, where they stay, and let it go. Answer: written, unwritten.
    case close(Holds)
    /// Let the origin job, which was ended, leave CLEANUP: no copy of it is left, or nobody can tell. With the wait status that it has then, when it
    /// runs; `hasLogs`: it has run, and its logs are put where they stay, as far as they got. No answer.
    case release(Holds, WaitStatus?, hasLogs: Bool = false)
    /// Write an event to the job's eventlog. Answer: written, unwritten.
    case post(name: String, context: JSONObject)
    /// Raise an exception. Answer: written, unwritten.
    case raise(type: String, severity: Int, note: String)
    /// Cancel the origin job, as its owner would. No answer: its eventlog tells.
    case cancelHere(note: String)
    /// Cancel the remote job. Answer: cancelled, unreachable.
    case cancel(FluxURI, JobID, note: String)
    /// Send `timer` after so many seconds.
    case pause(Double)
    /// Send `impatient` with this number when the job has not been seen at the target for as long as the job's own terms, or those of the target,
    /// say. `isHeld`: a copy of it there has never run.
    case awaitPatience(FluxURI, Delivery?, patience: Double?, isHeld: Bool, number: Int)
    /// A copy may be left at the target that has no right to be: look for it as soon as it is there. No answer.
    case sweep(FluxURI)
    /// The remote job has ended: by its own doing, or by the target's, in these words. No answer.
    case report(FluxURI, failure: String?)
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
  let originStart: Double
  let limits: Limits
  var isNew = false
  var submission: Submission?
  var record: JobRecord?
  var request: DelegationRequest?
  var mirror = JobMirror()
  var control = RemoteControl()
  /// Whether there may be logs of a job that has not begun to run, of this attempt or an earlier one.
  var mayHaveLogs = false
  /// Whether the target tells what happens to the remote job.
  var isFollowing = false
  /// Whether it is shown that nobody knows how the remote job fares.
  var isUnknown = false
  var hasSelected = false
  /// Whether its id at the target is in the origin's eventlog.
  var isOnRecord = false
  /// Whether all targets were searched, in this attempt.
  var hasSearched = false
  /// The copy that was found by that, until it is on record.
  var foundCopy: JobID?
  /// Which attempt this is, from 1.
  var attempt = 1
  /// The most of a note that is written to an eventlog, in bytes: of what became of an attempt, or of an exception.
  public static let maximumNoteLength = 1000
  /// What became of the attempts before, each in words.
  var failures: [String] = []
  /// The targets that were selected so far.
  var tried: Set<FluxURI> = []
  var isValidated = false
  var addedDependencies: Set<String> = []
  var removedDependencies: Set<String> = []
  /// The owner's changes that have come before the record.
  var earlyChanges: [EventlogEntry] = []
  var wasCancelled = false
  /// Whether the copy stays at the target although the origin job is ended: the origin itself ends.
  var keepsCopy = false
  /// The end of the origin, that was told before the record was read.
  var endsWith: Orphans?
  /// Whether the plugin keeps the job, which was ended, in CLEANUP.
  var isKept = false
  var tries = 0
  var ending: Ending?
  /// How often the target was lost from sight, or seen again: a patience with an older number means nothing.
  var sightings = 0
  /// Whether the patience with a target that cannot be seen is running, or is over.
  var isWaitingForSight = false
  /// Why it waits, as it is shown in listings.
  var shownWait: String?
  var isImpatient = false
  /// Whether the target was connected again while another one was looked for.
  var isBackInSight = false
  /// Whether the answer to a choice is still to come.
  var isChoiceAsked = false
  /// Whether a target takes the job, which was told before the refusal that it lifts.
  var isAdmitted = false
  /// The target that was chosen before the present one was given up.
  var successor: Target?

  /// A job that nothing is known of but its id.
  ///
  /// - Parameters:
  ///   - origin: where the origin instance is, for the mark.
  ///   - originStart: when it was started, in seconds since the epoch. Of an older job it may have lost the last events.
  public init(id: JobID, origin: String, originStart: Double = 0, limits: Limits = Limits()) {
    self.id = id
    self.origin = origin
    self.originStart = originStart
    self.limits = limits
  }

  /// The remote job of the present attempt, as far as it is known.
  public var remote: JobID? {
    switch state {
    case .recording(let remote), .releasing(let remote), .mirroring(let remote), .cancelling(let remote),
      .pausing(.follow(let remote)), .pausing(.mirror(let remote)), .pausing(.record(let remote)),
      .pausing(.release(let remote)), .pausing(.cancel(let remote)), .reconsidering(.follow(let remote)):
      remote
    default: nil
    }
  }

  /// The target that the job is at, is on its way to, or waits for; nil before the choice and after the end.
  public var place: FluxURI? {
    switch state {
    case .reading, .waiting, .searching, .choosing, .concluding, .renewing, .ended, .pausing(.read), .pausing(.search),
      .pausing(.renew), .pausing(.conclude):
      nil
    default: target?.uri
    }
  }

  /// Since which loss its target is out of sight, counted by the job itself; nil when that does not matter.
  public var loss: Int? { isWaitingForSight && state != .ended ? sightings : nil }

  /// Takes an event and says what to do.
  public mutating func handle(_ event: Event) -> [Action] {
    switch event {
    case .discovered(let isNew, let submission): discovered(isNew, submission)
    case .read(let record): read(record)
    case .unreadable(let words, let isGone): unreadable(words, isGone)
    case .unusable(let words): state == .reading ? conclude(.failure(words)) : late("a record")
    case .origin(let entry): grown(entry)
    case .signal(let number): signalled(number)
    case .chosen(let target): chosen(target)
    case .unchoosable(let words): unchoosable(words)
    case .deferred(let words): deferred(words)
    case .admissible: admissible()
    case .impatient(let number): impatient(number)
    case .reachable: reachable()
    case .found(let id): found(id)
    case .foundAt(let target, let id, let attempt): found(id, at: target, attempt)
    case .accepted(let id): accepted(id)
    case .rejected(let words): rejected(words)
    case .unreachable(let failure): unreachable(failure)
    case .unanswered(let failure): unanswered(failure)
    case .following: following()
    case .remote(let events): remote(events)
    case .lost(let failure): lost(failure)
    case .stored: stored()
    case .copied: copied()
    case .copyLost(let failure): copyLost(failure)
    case .controlled: controlled()
    case .forgotten(let words): forgotten(words)
    case .uncontrolled(let failure): uncontrolled(failure)
    case .written: written()
    case .unwritten(let words): unwritten(words)
    case .cancelled: cancelledThere()
    case .ending(let orphans): originEnds(orphans ?? .cancel)
    case .timer: resume()
    case .gone: gone()
    }
  }

  func late(_ what: String) -> [Action] {
    state == .ended ? [] : [.complain("\(id): \(what) came in state \(state)")]
  }
}
