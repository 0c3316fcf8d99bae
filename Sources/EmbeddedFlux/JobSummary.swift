// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A job as `job-list` shows it.
struct JobSummary {
  /// The attributes that can be asked for.
  static let attributes = [
    "userid", "urgency", "priority", "t_submit", "t_depend", "t_priority", "t_sched", "t_run", "t_cleanup",
    "t_inactive", "state", "name", "cwd", "queue", "project", "bank", "ntasks", "ncores", "duration", "nnodes", "ranks",
    "nodelist", "success", "exception_occurred", "exception_type", "exception_severity", "exception_note", "result",
    "expiration", "annotations", "waitstatus", "dependencies",
  ]

  private let job: Job

  init(_ job: Job) { self.job = job }

  /// The job with those attributes that it has.
  func json(_ names: Set<String>) -> JSON {
    var summary: JSONObject = ["id": job.id.json]
    for name in Self.attributes where names.contains(name) { summary[name] = value(name) }
    return .object(summary)
  }

  private func value(_ name: String) -> JSON? {
    switch name {
    case "userid": .int(Int64(job.userID))
    case "urgency": .int(Int64(job.urgency))
    case "priority": job.priority >= 0 ? .int(job.priority) : nil
    case "state": .int(Int64(job.state.rawValue))
    case "annotations": annotations
    case "dependencies": job.dependencies.isEmpty ? nil : .array(job.dependencies.map { .string($0) })
    case "waitstatus": job.waitStatus.map { .int(Int64($0.rawValue)) }
    case "name", "cwd", "queue", "project", "bank", "ntasks", "duration": described(name)
    case "ncores", "nnodes", "ranks", "nodelist", "expiration": allocated(name)
    case "success", "exception_occurred", "exception_severity", "exception_type", "exception_note", "result":
      ended(name)
    default: time(name).map { .double($0) }
    }
  }

  /// When a job got into a state, by the name of the attribute.
  func time(_ name: String) -> Double? {
    switch name {
    case "t_submit": job.times[.new]
    case "t_depend": job.times[.depend]
    case "t_priority": job.times[.priority]
    case "t_sched": job.times[.sched]
    case "t_run": job.times[.run]
    case "t_cleanup": job.times[.cleanup]
    case "t_inactive": job.times[.inactive]
    default: nil
    }
  }

  private var annotations: JSON? {
    var all = job.annotations
    if !job.memo.isEmpty { all["user"] = .object(job.memo) }
    return all.isEmpty ? nil : .object(all)
  }

  private func described(_ name: String) -> JSON? {
    switch name {
    case "name": .string(job.name)
    case "ntasks": .int(Int64(job.digest?.taskCount ?? job.jobspec.taskCount))
    case "duration": .double(job.digest?.duration ?? job.duration)
    default: job.digest.map { $0.attributes[name] } ?? job.current["attributes"]?["system"]?[name]
    }
  }

  private func allocated(_ name: String) -> JSON? {
    if let digest = job.digest { return digest.allocated(name) }
    guard let resources = job.resources else {
      switch name {
      case "ncores": return .int(Int64(job.jobspec.slotCount * job.jobspec.coresPerSlot))
      case "nnodes": return job.jobspec.nodeCount.map { .int(Int64($0)) }
      default: return nil
      }
    }
    switch name {
    case "ncores": return .int(Int64(resources.coreCount))
    case "nnodes": return .int(Int64(resources.nodeCount))
    case "ranks": return .string(resources.rankSet.bracketed)
    case "nodelist": return .string(resources.hostlist.description)
    default: return .double(resources.expiration)
    }
  }

  private func ended(_ name: String) -> JSON? {
    guard let result = job.result else { return nil }
    switch name {
    case "success": return .bool(result == .completed)
    case "result": return .int(Int64(result.rawValue))
    case "exception_occurred": return .bool(job.failure != nil)
    default: break
    }
    guard let failure = job.failure else { return nil }
    switch name {
    case "exception_severity": return .int(Int64(failure.severity))
    case "exception_type": return .string(failure.type)
    default: return .string(failure.note)
    }
  }
}
