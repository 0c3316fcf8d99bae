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
    guard !job.hasNamespace else { return }
    store?.whenDurable { if !job.hasNamespace { job.shed() } }
  }

  func keepForgotten(_ ids: [JobID]) { store?.record { $0.forget(ids) } }

  func keepDrained() { store?.record { [saved = drained.json.text] in $0.note("drained", saved) } }

  func keepQueues() { store?.record { [saved = queues.saved.text] in $0.note("queues", saved) } }

  /// A job was waited for, and cannot be waited for again.
  func keepWaited(_ job: Job) {
    isWaited.insert(job.id)
    store?.record { $0.set(waited: job.id) }
  }

  /// Adds a line to one of a job's own logs.
  func append(_ line: String, to log: GuestLog, of job: Job) {
    job.body?[log].append(line)
    store?.record { $0.append(line, to: StateBatch.Place(job: job.id, log: log.place)) }
    for observer in guestObservers { observer(job, log, line) }
  }

  /// Empties one of a job's own logs. Whoever follows it has seen its end.
  func empty(_ log: GuestLog, of job: Job) {
    job.body?[log] = []
    store?.record { batch in
      // On disk all go; the others come back.
      batch.empty(job.id)
      for log in GuestLog.allCases {
        for line in job.body?[log] ?? [] { batch.append(line, to: StateBatch.Place(job: job.id, log: log.place)) }
      }
    }
    for observer in guestObservers { observer(job, log, nil) }
  }

  /// Keeps a value for a client, or drops it.
  func set(_ value: String?, for key: String) {
    values[key] = value.map { .string($0) }
    store?.record { [values] in $0.note("values", JSON.object(values).text) }
  }

  /// A job has a namespace of its own.
  func openNamespace(of job: Job) throws(ServiceError) {
    if let body = try whole(job, withLogs: true).body { job.regain(body) }
    job.hasNamespace = true
    job.isGuestOpen = true
    store?.record { $0.set(.open, of: job.id) }
  }

  /// A job's namespace is there no more; its logs stay, if it has run.
  func removeNamespace(of job: Job) {
    guard job.hasNamespace else { return }
    job.hasNamespace = false
    store?.record { $0.set(.removed, of: job.id) }
    closeGuest(of: job)
    // Nobody looks for logs of a job that never ran.
    if !job.hasStarted {
      job.body?.execLog = []
      job.body?.output = []
      store?.record { $0.empty(job.id) }
    }
    if !job.isActive { shed(job) }
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
