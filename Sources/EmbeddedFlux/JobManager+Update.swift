// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-manager.update`: changes of a job's jobspec after its submission, with Flux's rules and words.
extension JobManager {
  private static let durationPath = "attributes.system.duration"
  private static let queuePath = "attributes.system.queue"
  /// The most keys of one update.
  static let maximumUpdates = 64
  private static let parts = ["attributes", "resources", "tasks"]

  /// Applies all updates or none: each needs somebody who allows it, the instance or a plugin.
  func update(_ job: Job, _ updates: JSONObject, for request: Request) throws(ServiceError) {
    var updates = updates
    var needsValidation = false
    var needsFeasibility = false
    for (path, value) in updates {
      let verdict = try verdict(on: path, value, job, request)
      if !verdict.isValidated { needsValidation = true }
      if verdict.needsFeasibility { needsFeasibility = true }
      for (path, value) in verdict.further { updates[path] = value }
    }
    if needsValidation { try plugins.check("job.validate", job, extra: ["jobspec": job.jobspec(with: updates)]) }
    if needsFeasibility { try checkFeasibility(job.jobspec(with: updates)) }
    if let duration = updates[Self.durationPath]?.doubleValue, job.isRunning {
      let expiration = try expiration(of: job, lasting: duration)
      post(job, "jobspec-update", updates)
      post(job, "resource-update", ["expiration": .double(expiration)])
    } else {
      post(job, "jobspec-update", updates)
    }
  }

  /// Whether the keys of an update can be meant for a jobspec at all.
  static func areUpdates(_ updates: JSONObject) -> Bool {
    updates.count <= maximumUpdates
      && updates.keys.allSatisfy { key in parts.contains { key == $0 || key.hasPrefix($0 + ".") } }
  }

  private func verdict(
    on path: String, _ value: JSON, _ job: Job, _ request: Request
  ) throws(ServiceError) -> PluginHost.UpdateVerdict {
    var verdict: PluginHost.UpdateVerdict?
    switch path {
    case Self.durationPath:
      guard let duration = value.doubleValue else { throw ServiceError(.invalid, "plugin args unpack failed") }
      guard duration >= 0 else { throw ServiceError(.invalid, "duration must not be negative") }
      // Only the owner is here, and may set any.
      verdict = PluginHost.UpdateVerdict(isValidated: true)
    case Self.queuePath: verdict = try queueVerdict(value, job)
    default: break
    }
    let theirs = try plugins.verdict(on: path, value, job, request)
    guard let merged = verdict?.merged(theirs) ?? theirs else {
      throw ServiceError(.invalid, "update of \(path) not supported")
    }
    return merged
  }

  private func queueVerdict(_ value: JSON, _ job: Job) throws(ServiceError) -> PluginHost.UpdateVerdict {
    guard let name = value.stringValue else { throw ServiceError(.invalid, "plugin args unpack failed") }
    guard !job.isRunning else { throw ServiceError(.invalid, "update of queue for running job not supported") }
    let present = job.current["attributes"]?["system"]?["constraints"]
    let constraints = try queues.constraints(in: name, from: job.queue, present)
    return PluginHost.UpdateVerdict(
      needsFeasibility: true, further: ["attributes.system.constraints": constraints])
  }

  private func checkFeasibility(_ json: JSON) throws(ServiceError) {
    let jobspec: Jobspec
    do { jobspec = try Jobspec(json) } catch { throw ServiceError(.invalid, error.message) }
    try IngestService.check(sizeOf: jobspec)
    if let objection = cluster.objection(to: VirtualCluster.Demand(jobspec)) {
      throw ServiceError(.overflow, objection)
    }
  }

  private func expiration(of job: Job, lasting duration: Double) throws(ServiceError) -> Double {
    guard duration > 0 else { return 0 }
    guard let start = job.resources?.startTime, start > 0 else {
      throw ServiceError(.invalid, "unable to get job starttime")
    }
    guard start + duration > broker.now() else {
      throw ServiceError(.invalid, "requested duration places job expiration in the past")
    }
    return start + duration
  }
}
