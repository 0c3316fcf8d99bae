// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc

/// `job-manager.drain`, `idle`, `killall`, `purge`, `purge-id`, `alloc-query`: what `flux queue` and `flux job` ask for all jobs.
extension JobManagerService {
  // MARK: Waiting until nothing is there

  func waitUntilIdle(_ request: Request) throws(ServiceError) {
    if request.method == "drain" { _ = try drainers.add(request, ()) } else { _ = try idlers.add(request, ()) }
    answerIdle()
  }

  /// Something has happened: those that wait may have their answer, once all that follows from it has happened too.
  func checkIdle() {
    guard !isCheckDue, !drainers.streams.isEmpty || !idlers.streams.isEmpty else { return }
    isCheckDue = true
    broker.later { [weak self] in
      self?.isCheckDue = false
      self?.answerIdle()
    }
  }

  private func answerIdle() {
    if manager.activeCount == 0 {
      for number in drainers.streams.keys.sorted() { drainers.remove(number).map { broker.respond($0) } }
    }
    guard manager.isQuiet, !manager.scheduler.hasWork else { return }
    for number in idlers.streams.keys.sorted() {
      idlers.remove(number).map { broker.respond($0, ["pending": .int(Int64(manager.activeCount))]) }
    }
  }

  /// How many jobs wait for the scheduler, are with it, and run. It is part of the job manager here: none waits for it.
  func allocationQuery(_ request: Request) {
    let running = manager.active.values.count { $0.isRunning }
    broker.respond(
      request,
      [
        "queue_length": 0, "alloc_pending": .int(Int64(manager.scheduler.pendingCount)),
        "running": .int(Int64(running)),
      ])
  }

  // MARK: Signals

  func killAll(_ request: Request) throws(ServiceError) {
    guard let isDryRun = request.payload["dry_run"]?.boolValue else { throw .malformed(request.topic, "dry_run") }
    let user = try request.int("userid")
    let signal = try signal(request)
    let isAnybody = user == -1 || user == Int(UInt32.max)
    let chosen = manager.active.values.filter { $0.isRunning && (isAnybody || user == Int($0.userID)) }
    if !isDryRun { for job in chosen { manager.kill(job, signal: signal) } }
    broker.respond(request, ["count": .int(Int64(chosen.count)), "errors": 0])
  }

  // MARK: Forgetting

  /// The most jobs of one request, as in Flux.
  private static let maximumBatch = 100

  func purge(_ request: Request) throws(ServiceError) {
    guard let age = request.payload["age_limit"]?.doubleValue else { throw .malformed(request.topic, "age_limit") }
    let count = try request.int("num_limit")
    let batch = try request.int("batch")
    guard let isForced = request.payload["force"]?.boolValue else { throw .malformed(request.topic, "force") }
    guard age == -1 || age >= 0 else { throw ServiceError(.invalid, "if set, age limit must be >= 0") }
    guard count == -1 || count >= 0 else { throw ServiceError(.invalid, "if set, num limit must be >= 0") }
    guard (1...Self.maximumBatch).contains(batch) else {
      throw ServiceError(.invalid, "batch must be >= 1 and <= \(Self.maximumBatch)")
    }
    let now = broker.now()
    let all = manager.inactive
    let chosen = all.enumerated().prefix { index, id in
      let isOld = age >= 0 && now - (manager.jobs[id]?.times[.inactive] ?? 0) > age
      return isOld || (count >= 0 && all.count - index > count)
    }.map(\.element)
    guard isForced else { return broker.respond(request, ["count": .int(Int64(chosen.count))]) }
    manager.purge(Array(chosen.prefix(batch)))
    broker.respond(request, ["count": .int(Int64(min(chosen.count, batch)))])
  }

  func purgeOne(_ request: Request) throws(ServiceError) {
    let job = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry, "id not found"))
    guard !job.isActive else { throw ServiceError(.invalid, "cannot purge active job") }
    guard try request.int("force") != 0 else { return broker.respond(request, ["count": 0]) }
    manager.purge([job.id])
    broker.respond(request, ["count": 1])
  }
}
