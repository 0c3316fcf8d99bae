// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// What the state directory is told, and what it is asked. Without one nothing here costs anything.
extension JobManager {
  /// A job was accepted.
  func keep(_ job: Job) {
    guard let store, let body = job.body else { return }
    let submission = StateBatch.Submission(
      id: job.id, userID: job.userID, urgency: job.urgency, flags: job.flags, signed: body.signed,
      jobspec: body.isCompleted ? body.jobspec.json.text : nil)
    store.record { $0.add(submission) }
  }

  /// A job's eventlog has grown.
  func keep(_ job: Job, _ entry: EventlogEntry) {
    guard let store else { return }
    store.record { batch in
      batch.append(entry.line, to: StateBatch.Place(job: job.id, log: .events))
      if entry.name == "alloc", let resources = job.resources { batch.set(resources: resources.json.text, of: job.id) }
    }
  }

  /// A job has ended: once that is written its documents need not be in memory.
  func keepEnded(_ job: Job) {
    guard let store else { return }
    store.record { $0.end(job.id, job.record.text) }
    shed(job)
  }

  private func shed(_ job: Job) {
    guard !job.hasNamespace else { return keepInMemory(job) }
    store?.whenDurable { if !job.hasNamespace { job.shed() } }
  }

  func keepForgotten(_ ids: [JobID]) { store?.record { $0.forget(ids) } }

  func keepDrained() { store?.note("drained") { [unowned self] in drained.json.text } }

  func keepQueues() { store?.note("queues") { [unowned self] in queues.saved.text } }

  func keepValues() { store?.note("values") { [unowned self] in JSON.object(values).text } }

  /// A job was waited for, and cannot be waited for again.
  func keepWaited(_ job: Job) {
    isWaited.insert(job.id)
    store?.record { $0.set(waited: job.id) }
  }

  /// Adds a line to one of a job's own logs.
  func append(_ line: String, to log: GuestLog, of job: Job) {
    job.body?[log].append(line)
    job.body?.lengths[log, default: 0] += line.utf8.count
    store?.record { $0.append(line, to: StateBatch.Place(job: job.id, log: log.place)) }
    for observer in guestObservers { observer(job, log, line) }
  }

  /// Empties one of a job's own logs. Whoever follows it has seen its end.
  func empty(_ log: GuestLog, of job: Job) {
    drop(log, of: job)
    for observer in guestObservers { observer(job, log, nil) }
  }

  private func drop(_ log: GuestLog, of job: Job) {
    job.body?[log] = []
    job.body?.lengths[log] = nil
    store?.record { $0.empty(StateBatch.Place(job: job.id, log: log.place)) }
  }

  /// Adds a line to one of a job's own logs for a client. What would make it longer than may be is dropped, and the output log says so.
  func write(_ line: String, to log: GuestLog, of job: Job) {
    switch job.body?.admits(line.utf8.count, to: log) ?? .all {
    case .all: append(line, to: log, of: job)
    case .nothing(let isFirst):
      guard isFirst else { return }
      let words = "\(log.rawValue) has \(JobBody.maximumLog >> 20) MiB; what follows is dropped"
      let context: JSONObject = ["level": 2, "rank": 0, "component": "output", "message": .string(words)]
      append(event("log", context).line, to: .output, of: job)
    }
  }

  /// A job has a namespace of its own.
  func openNamespace(of job: Job) throws(ServiceError) {
    if let body = try whole(job, withLogs: true).body { job.regain(body) }
    job.hasNamespace = true
    job.isGuestOpen = true
    store?.record { $0.set(.open, of: job.id) }
    if !job.isActive { keepInMemory(job) }
  }

  /// The most jobs that have ended and have a namespace: all of such a job is in memory, until its namespace is removed.
  private static let maximumReopened = 64

  /// A job that has ended has a namespace, and is in memory because of that. The one for which that is so for longest loses it, where there are
  /// too many.
  func keepInMemory(_ job: Job) {
    guard store != nil else { return }
    reopened.removeAll { $0 == job.id }
    reopened.append(job.id)
    guard reopened.count > Self.maximumReopened, let oldest = jobs[reopened.removeFirst()] else { return }
    removeNamespace(of: oldest)
  }

  /// A job's namespace is there no more; its logs stay, if it has run.
  func removeNamespace(of job: Job) {
    guard job.hasNamespace else { return }
    job.hasNamespace = false
    store?.record { $0.set(.removed, of: job.id) }
    closeGuest(of: job)
    // Nobody looks for logs of a job that never ran.
    if !job.hasStarted { for log in GuestLog.allCases { drop(log, of: job) } }
    guard !job.isActive else { return }
    reopened.removeAll { $0 == job.id }
    shed(job)
  }

  /// A job's own logs do not grow any more.
  func closeGuest(of job: Job) {
    job.isGuestOpen = false
    for observer in guestObservers {
      for log in GuestLog.allCases { observer(job, log, nil) }
    }
  }

  /// Runs something once all that was changed so far is on disk; at once without a state directory.
  func whenDurable(_ work: @escaping () -> Void) {
    if let store { store.whenDurable(work) } else { work() }
  }

  /// Runs something when the disk keeps up; at once without a state directory.
  func whenRoom(_ work: @escaping () -> Void) {
    if let store { store.whenRoom(work) } else { work() }
  }

  /// The job with all its documents, read back when they are not in memory.
  func whole(_ job: Job, withLogs: Bool = false) throws(ServiceError) -> Job {
    guard job.body == nil else { return job }
    let found = try read(job) { (reader) throws(Database.Failure) -> Job in
      guard let entry = try reader.entry(job.id), let found = try reader.job(entry) else {
        throw Database.Failure(code: 11, text: "job \(job.id) is not in the state directory any more")
      }
      found.isGuestOpen = false
      if withLogs {
        try found.body?.readLogs(of: job.id, reader)
      }
      return found
    }
    return found ?? job
  }

  /// A part of a log that is not in memory, the first after another one; nil when there is none.
  func page(of job: Job, _ log: StateBatch.Log, after batch: Int64) throws(ServiceError) -> (
    batch: Int64, text: String
  )? {
    try read(job) { (reader) throws(Database.Failure) in try reader.page(job.id, log, after: batch) } ?? nil
  }

  /// Nil when nothing is kept on disk.
  private func read<T>(_ job: Job, _ body: (StateReader) throws(Database.Failure) -> T) throws(ServiceError) -> T? {
    guard let store else { return nil }
    do throws(Database.Failure) { return try store.read(body) } catch {
      log.append(level: 3, "state", "cannot read job \(job.id): \(error)")
      throw ServiceError(Errnum(UInt32(error.errnum)), error.text)
    }
  }
}
