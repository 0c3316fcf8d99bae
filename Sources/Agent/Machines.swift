// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob
import Targets

/// The machines of all jobs: inputs in, one at a time; what is to be done out.
struct Machines {
  /// What is to be done, by a task of its own.
  enum Work: Sendable {
    case perform(DelegatedJob.Action, JobID)
    case judge(TargetJournal.Stray, at: FluxURI)
  }

  /// The origin's name, for marks.
  let name: String
  /// When the origin was started, in seconds since the epoch.
  let started: Double
  let limits: DelegatedJob.Limits
  let log: OriginLog
  let governor: TargetGovernor
  let sights: Sights
  private var jobs: [JobID: DelegatedJob] = [:]
  /// Jobs that were there before the agent, and were not read yet; nil once all have been: then targets take jobs.
  private var unread: Set<JobID>? = []
  private var areAllNamed = false
  /// Whether the origin ends for good.
  private var isEnding = false

  init(
    name: String, started: Double, limits: DelegatedJob.Limits, log: OriginLog, governor: TargetGovernor, sights: Sights
  ) {
    self.sights = sights
    self.name = name
    self.started = started
    self.limits = limits
    self.log = log
    self.governor = governor
  }

  mutating func take(_ input: Agent.Input) -> [Work] {
    switch input {
    case .job(let id, let event): return handle(event, of: id)
    case .told(let id, let events, let backlog):
      defer { backlog.take(events.count) }
      return handle(.remote(events), of: id)
    case .stray(let found, let uri): return isStray(found, at: uri) ? [.judge(found, at: uri)] : []
    case .reachable(let uri): return resume(at: uri)
    case .originEnds:
      isEnding = true
      return jobs.keys.sorted().flatMap { end($0) }
    case .allNamed:
      areAllNamed = true
      noteRead()
      return []
    case .list(let answer):
      answer.yield(jobs.values.map(\.summary))
      answer.finish()
      return []
    }
  }

  /// Whether a job cannot be the copy that its machine will release or follow: there is no machine, or it has another one. While a machine does
  /// not know its copy yet, nothing is a stray.
  private func isStray(_ found: TargetJournal.Stray, at uri: FluxURI) -> Bool {
    guard let job = jobs[found.mark.id] else { return true }
    guard let remote = job.remote else { return false }
    // Targets that were started at the same moment give the same ids.
    return remote != found.id || job.place != uri
  }

  /// A target is connected again: who waits for it need not wait for the end of a pause.
  private mutating func resume(at uri: FluxURI) -> [Work] {
    var work: [Work] = []
    for (id, job) in jobs where job.isWaiting(for: uri) { work += handle(.reachable, of: id) }
    return work
  }

  /// The origin ends for good: a job hears it once its place may be known.
  private mutating func end(_ id: JobID) -> [Work] {
    handle(.ending(jobs[id]?.place.flatMap { governor.terms(of: $0)?.orphans }), of: id)
  }

  /// Once all jobs that were there before have been read, it is known how many are at each target.
  private mutating func noteRead(_ id: JobID? = nil) {
    if let id { unread?.remove(id) }
    guard areAllNamed, unread?.isEmpty == true else { return }
    unread = nil
    governor.begin()
  }

  private mutating func handle(_ event: DelegatedJob.Event, of id: JobID) -> [Work] {
    if case .discovered(let isNew, _) = event, jobs[id] == nil {
      jobs[id] = DelegatedJob(id: id, origin: name, originStart: started, limits: limits)
      if !isNew { unread?.insert(id) }
      if isEnding { return handle(event, of: id) + end(id) }
    }
    guard let before = jobs[id].map(Standing.init) else {
      // An answer that came too late may have had it counted at a target.
      governor.forget(id)
      // Nothing of a job without a machine is at a target: it runs at home, or is over. When it is ended the plugin need not keep it.
      guard case .origin(let entry) = event, entry.name == "exception" else { return [] }
      return [.perform(.release(DelegatedJob.Holds(), nil), id)]
    }
    // In its place: nobody else holds the machine, so nothing of it is copied.
    let actions = jobs[id]?.handle(event) ?? []
    guard let job = jobs[id] else { return [] }
    // What a job tells of its target counts as long as it is there.
    for case .report(let uri, let failure) in actions {
      if let words = governor.report(id, at: uri, failure: failure) { log.warning("\(uri): \(words)") }
    }
    count(id, before, job)
    if before.loss != job.loss { sights.set(job.loss, for: id) }
    if before.state == .reading, job.state != .reading { noteRead(id) }
    // A place that it was let in to, and has no use for: it has gone elsewhere meanwhile, or stays where it is.
    if event == .admissible, job.state == before.state, job.state != .submitting, job.state != .choosing {
      governor.forget(id, but: job.place)
    }
    var work: [Work] = []
    for action in actions {
      switch action {
      case .forget:
        jobs[id] = nil
        governor.forget(id)
      case .complain(let words): log.error(words)
      case .report: break
      default: work.append(.perform(action, id))
      }
    }
    // That a target cannot be reached is said once a try, not once a job.
    if case .pausing(let next) = job.state, next.isOfTheOrigin, let reason = job.reason {
      log.warning("\(id): \(reason)")
    }
    return work
  }

  /// What of a machine is compared before and after an event.
  private struct Standing {
    let state: DelegatedJob.State
    let place: FluxURI?
    let remote: JobID?
    let loss: Int?

    init(_ job: DelegatedJob) {
      state = job.state
      place = job.place
      remote = job.remote
      loss = job.loss
    }
  }

  /// Keeps the count of jobs at each target.
  private func count(_ id: JobID, _ before: Standing, _ after: DelegatedJob) {
    if let place = before.place, place != after.place { governor.leave(id, place) }
    if let place = after.place, after.remote != nil, before.remote == nil || place != before.place {
      governor.enter(id, place)
    }
  }
}

extension DelegatedJob.Next {
  /// Whether the origin, and not a target, is what did not do what it was told.
  fileprivate var isOfTheOrigin: Bool {
    switch self {
    case .read, .select, .mirror, .record, .abandon, .renew, .conclude: true
    case .search, .look, .follow, .submit, .release, .cancel: false
    }
  }
}

extension DelegatedJob {
  /// Whether it waits until a target can be asked again.
  fileprivate func isWaiting(for uri: FluxURI) -> Bool {
    switch state {
    case .pausing(.look), .pausing(.follow), .pausing(.submit), .pausing(.release), .pausing(.cancel), .reconsidering:
      place == uri
    // All targets have to be asked, and this one may have been the last.
    case .pausing(.search): true
    default: false
    }
  }
}
