// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// Flux's own dependencies (RFC 26): ``AfterDependency``, `begin-time`, `singleton`; every other scheme is a plugin's.
extension JobManager {
  func add(_ dependency: Dependency, to job: Job) throws(ServiceError) {
    switch dependency.scheme {
    case "begin-time": try addBeginTime(dependency.value, to: job)
    case "singleton": try addSingleton(to: job)
    default:
      guard let kind = AfterDependency(scheme: dependency.scheme) else {
        return try plugins.dependency(dependency, of: job)
      }
      try add(kind, dependency, to: job)
    }
  }

  private func add(_ kind: AfterDependency, _ dependency: Dependency, to job: Job) throws(ServiceError) {
    if dependency.scheme == "after" {
      raise(
        job, type: "dependency", severity: 3, note: "dependency scheme 'after' is deprecated, use 'afterstart'",
        userID: broker.owner)
    }
    // The words that the owner has written, in whatever encoding.
    let prefix = "dependency: \(dependency.scheme): "
    guard let id = try? JobID(parsing: dependency.value) else {
      throw ServiceError(.invalid, "\(prefix)\"\(dependency.value)\" is not a valid jobid")
    }
    guard let other = jobs[id], other !== job else {
      throw ServiceError(.invalid, "\(prefix)id \(dependency.value): job not found")
    }
    if let objection = kind.objection(toEnded: other, called: dependency.value) {
      throw ServiceError(.invalid, "dependency: \(objection)")
    }
    let description = "\(kind.rawValue)=\(dependency.value)"
    addDependency(job, description)
    if kind.verdict(other) == .met {
      post(job, "dependency-remove", ["description": .string(description)])
    } else {
      add(job, waitingFor: id)
    }
  }

  // MARK: Who waits for whom

  private func add(_ job: Job, waitingFor id: JobID) {
    dependants[id, default: [:]][job.id] = job
    job.awaited.insert(id)
  }

  private func stopAwaiting(_ id: JobID, by job: Job) {
    job.awaited.remove(id)
    dependants[id]?[job.id] = nil
    if dependants[id]?.isEmpty == true { dependants[id] = nil }
  }

  /// A job was rejected, or has ended: whatever it has waited for goes on without it.
  func awaitNothing(_ job: Job) { for id in job.awaited { stopAwaiting(id, by: job) } }

  /// Makes a job wait for something that has this description. Known descriptions change nothing.
  func addDependency(_ job: Job, _ description: String) {
    let adds = { (entry: EventlogEntry) in
      entry.name == "dependency-add" && entry.context?["description"]?.stringValue == description
    }
    if !job.eventlog.contains(where: adds), !job.pending.contains(where: adds) {
      post(job, "dependency-add", ["description": .string(description)])
    }
  }

  /// A job has started or ended: whoever waits for that goes on.
  func resolveDependants(of job: Job) {
    guard let waiting = dependants[job.id] else { return }
    let waits = { (description: String) in AfterDependency.parse(description)?.1 == job.id }
    for waiter in waiting.values.sorted(by: { $0.id < $1.id }) {
      for description in waiter.dependencies {
        guard waiter.state == .depend, let (kind, id) = AfterDependency.parse(description), id == job.id else {
          continue
        }
        settle(waiter, kind, description, job)
      }
      let isSettled = waiter.state != .new && !waiter.dependencies.contains(where: waits)
      if isSettled || job.state == .inactive { stopAwaiting(job.id, by: waiter) }
    }
  }

  private func settle(_ waiter: Job, _ kind: AfterDependency, _ description: String, _ other: Job?) {
    switch other.map({ kind.verdict($0) }) ?? .impossible {
    case .met: post(waiter, "dependency-remove", ["description": .string(description)])
    case .impossible:
      // Flux judges by the allocation, its listings by the state.
      let why = other?.hasAllocation == false ? "job never started" : "can never be satisfied"
      raise(
        waiter, type: "dependency", severity: 0, note: "dependency \(description) \(why)", userID: broker.owner)
    case .open: break
    }
  }

  /// What a job waits for may have come while the instance was away; what is a plugin's waits for the plugin.
  func resumeDependencies(of job: Job) {
    for description in job.dependencies {
      if resumeBuiltIn(description, of: job) { continue }
      guard let (kind, id) = AfterDependency.parse(description) else { continue }
      settle(job, kind, description, jobs[id])
      if job.dependencies.contains(description), jobs[id]?.isActive == true { add(job, waitingFor: id) }
    }
    if job.state == .depend, job.dependencies.isEmpty { post(job, "depend") }
  }
}
