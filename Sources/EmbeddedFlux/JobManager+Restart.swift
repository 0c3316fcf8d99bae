// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The instance is started again: its jobs are those of the state directory, each in the state that its eventlog proves.
extension JobManager {
  /// Loads all jobs. What cannot be understood of an active job is left where it is, and said in the log.
  func load() throws(Database.Failure) {
    guard let store else { return }
    try store.read { reader throws(Database.Failure) in
      var newest: JobID?
      try reader.jobs { entry throws(Database.Failure) in
        newest = entry.id
        try load(entry, reader)
      }
      sortInactive()
      continueIDs(since: Double(try reader.note("epoch") ?? "") ?? broker.now(), after: newest)
      if let text = try reader.note("values"), let json = try? JSON(parsing: text) { values = json.objectValue ?? [:] }
      if let text = try reader.note("queues"), let json = try? JSON(parsing: text) { queues.restore(json) }
      if let text = try reader.note("drained"), let json = try? JSON(parsing: text) {
        drained.restore(json, nodes: cluster.all.nodeCount)
        scheduler.setDown(drained.ranks)
      }
    }
    guard !jobs.isEmpty else { return }
    log.append(level: 6, "state", "restart: \(jobs.count) jobs, \(activeCount) of them active")
  }

  private func load(_ entry: StateReader.Entry, _ reader: StateReader) throws(Database.Failure) {
    if entry.isWaited { isWaited.insert(entry.id) }
    if let text = entry.record, entry.guest != .open, let record = try? JSON(parsing: text) {
      let job = Job(id: entry.id, userID: entry.userID, urgency: entry.urgency, flags: entry.flags, body: nil)
      job.restore(record)
      return adopt(job)
    }
    guard let job = try reader.job(entry) else {
      return log.append(level: 3, "state", "job \(entry.id) is left out: what is kept of it cannot be read")
    }
    try job.body?.readLogs(of: job.id, reader)
    // A log that a client wrote is over once its namespace is; the instance's own once its processes are.
    let isOver = entry.guest == .removed || (job.isExecuted && job.waitStatus != nil)
    job.isGuestOpen = entry.guest == .open || (job.isActive && !isOver)
    adopt(job)
    if !job.isActive, job.hasNamespace { keepInMemory(job) }
  }

  /// Has every job go on from where it is. As in Flux, no plugin is loaded yet.
  func resume() {
    let present = active.values.sorted { $0.id < $1.id }
    // All resources that somebody has are taken before anybody else gets some.
    for job in present where job.isRunning && !job.isReleased && !job.bypassesScheduler {
      if let resources = job.resources { scheduler.take(resources, for: job.id, until: resources.expiration) }
    }
    for job in present { resume(job) }
  }

  private func resume(_ job: Job) {
    switch job.state {
    case .new: post(job, "validate")
    case .depend: resumeDependencies(of: job)
    case .priority: post(job, "priority", ["priority": .int(Int64(job.urgency))])
    case .sched: post(job, "flux-restart")
    case .run where job.isExecuted: lose(job)
    case .run: execute(job)
    case .cleanup: resumeCleanup(of: job)
    case .inactive: break
    }
  }

  private func resumeCleanup(of job: Job) {
    if job.isExecuted, job.waitStatus == nil { return lose(job) }
    if job.eventlog.contains(where: { $0.name == "free" }) { return clean(job) }
    guard job.isExecuted else { return letGo(job) }
    if job.isReleased { free(job) } else { release(job) }
  }

  /// The signal that has ended the processes of an instance that is gone.
  private static let lost = WaitStatus(signal: 9)

  /// The job's processes have ended with the instance that ran them.
  private func lose(_ job: Job) {
    if job.state == .run {
      raise(
        job, type: "exec", severity: 0,
        note: "the job's processes have ended with the instance, which was started again",
        userID: job.userID)
    }
    let status = job.statusAfterException(Self.lost)
    append(event("complete", ["status": .int(Int64(status.rawValue))]).line, to: .exec, of: job)
    append(event("done").line, to: .exec, of: job)
    closeGuest(of: job)
    finished(job, status)
  }
}
