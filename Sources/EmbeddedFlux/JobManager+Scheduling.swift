// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the scheduler is told of the jobs, and what becomes of its decisions.
extension JobManager {
  func enqueue(_ job: Job) {
    if job.bypassesScheduler { return }
    // The scheduler hears of it when its queue is started.
    guard queues.isStarted(job.queue) else { return }
    if job.isDebugged { post(job, "debug.alloc-request") }
    if let objection = cluster.objection(to: job.demand) {
      return raise(job, type: "alloc", severity: 0, note: objection, userID: broker.owner)
    }
    scheduler.add(
      Scheduler.Request(
        id: job.id, priority: job.priority, queue: job.queue ?? "", demand: job.demand, duration: job.duration))
    schedule()
  }

  /// A job waits for resources no more, at least for now.
  func withdraw(_ job: Job) {
    scheduler.remove(job.id)
    guard reserved == job.id else { return }
    estimate(nil)
    schedule()
  }

  /// Queues were started or stopped, or are new, or gone: their jobs go to the scheduler, or come back from it.
  func queuesChanged() {
    for job in active.values where job.state == .sched {
      let isStarted = queues.isStarted(job.queue)
      if isStarted, !scheduler.contains(job.id) { enqueue(job) }
      if !isStarted { withdraw(job) }
    }
    schedule()
  }

  /// Asks the scheduler who starts once the present events are processed.
  func schedule() {
    guard !isPassDue else { return }
    isPassDue = true
    broker.later { [weak self] in self?.pass() }
  }

  private func pass() {
    isPassDue = false
    guard !isStopping else { return }
    let pass = scheduler.pass(at: broker.now())
    for start in pass.starts { allocate(start) }
    estimate(pass.reservation)
    if !pass.starts.isEmpty { schedule() }
  }

  private func allocate(_ start: Scheduler.Start) {
    // Another start may have ended this one: a plugin that raises an exception.
    guard let job = jobs[start.id], job.state == .sched, !job.bypassesScheduler else {
      return scheduler.release(start.id)
    }
    if reserved == job.id { reserved = nil }
    job.resources = start.resources
    let summary = Self.summary(of: start.resources)
    var annotation: JSONObject = ["resource_summary": .string(summary)]
    annotation["backfill"] = start.isBefore.map { .string($0.encoded(.f58)) }
    job.annotations["sched"] = .object(annotation)
    post(job, "alloc", ["annotations": ["sched": .object(annotation)]])
  }

  /// What an allocation is, in short: ranks with the same cores together.
  private static func summary(of resources: ResourceSet) -> String {
    var groups: [(ranks: [Int], cores: IDSet)] = []
    for rank in resources.ranks {
      if let index = groups.firstIndex(where: { $0.cores == rank.cores }) {
        groups[index].ranks.append(rank.rank)
      } else {
        groups.append(([rank.rank], rank.cores))
      }
    }
    return groups.map { "rank\(IDSet($0.ranks).bracketed)/core\($0.cores.bracketed)" }.joined(separator: ",")
  }

  /// Shows when the job that has a reservation starts: `flux jobs` has it as `eta`. Others have no such estimate.
  private func estimate(_ reservation: Scheduler.Reservation?) {
    if let reserved, reserved != reservation?.id, let job = jobs[reserved], job.isActive {
      annotate(job, estimate: nil)
    }
    reserved = reservation?.id
    if let reservation, let job = jobs[reservation.id] { annotate(job, estimate: reservation.start) }
  }

  private func annotate(_ job: Job, estimate: Double?) {
    let value = estimate.map { JSON.double($0) }
    guard job.annotations["sched"]?["t_estimate"] != value else { return }
    var annotation = job.annotations["sched"]?.objectValue ?? [:]
    annotation["t_estimate"] = value
    job.annotations["sched"] = annotation.isEmpty ? nil : .object(annotation)
    let entry = event("annotations", ["annotations": .object(job.annotations)])
    for observer in volatileObservers { observer(job, entry) }
  }
}
