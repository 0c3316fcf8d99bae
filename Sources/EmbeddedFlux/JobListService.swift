// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-list`: listings of jobs by attributes and constraints.
final class JobListService: Service {
  private unowned let broker: Broker
  private unowned let manager: JobManager

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  func handle(_ request: Request) throws(ServiceError) {
    switch request.method {
    case "list": try list(request)
    case "list-id":
      let job = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry))
      broker.respond(request, ["job": JobSummary(job).json(try Self.attributes(request))])
    case "list-attrs": broker.respond(request, ["attrs": .array(JobSummary.attributes.map { .string($0) })])
    case "job-stats": broker.respond(request, stats())
    default: throw Broker.unknownMethod(request)
    }
  }

  private static func attributes(_ request: Request) throws(ServiceError) -> Set<String> {
    let names = request.payload["attrs"]?.arrayValue?.compactMap(\.stringValue) ?? []
    if names.contains("all") { return Set(JobSummary.attributes) }
    if let unknown = names.first(where: { !JobSummary.attributes.contains($0) }) {
      throw ServiceError(.invalid, "\(unknown) is not a valid attribute")
    }
    return Set(names)
  }

  private func list(_ request: Request) throws(ServiceError) {
    let attributes = try Self.attributes(request)
    let limit = Int(request.payload["max_entries"]?.intValue ?? 0)
    let since = request.payload["since"]?.doubleValue ?? 0
    let constraint = try JobFilter(request.payload["constraint"])
    var found: [Job] = []
    for job in sorted() {
      if limit > 0 && found.count >= limit { break }
      if !job.isActive, (job.times[.inactive] ?? 0) <= since { continue }
      if constraint.matches(job) { found.append(job) }
    }
    guard request.isStreaming else {
      return broker.respond(request, ["jobs": .array(found.map { JobSummary($0).json(attributes) })])
    }
    for (index, job) in found.enumerated() {
      var response: JSON = ["jobs": [JobSummary(job).json(attributes)]]
      if index == 0 { response["version"] = 1 }
      broker.respond(request, response)
    }
    broker.respond(request, errnum: .noData)
  }

  /// Pending by priority, running by start, inactive by end, the newest first: Flux's order.
  private func sorted() -> [Job] {
    var pending: [Job] = []
    var running: [Job] = []
    var inactive: [Job] = []
    for id in manager.order {
      guard let job = manager.jobs[id] else { continue }
      switch job.state {
      case .new, .depend, .priority, .sched: pending.append(job)
      case .run, .cleanup: running.append(job)
      case .inactive: inactive.append(job)
      }
    }
    pending.sort { ($0.priority, $1.id) > ($1.priority, $0.id) }
    running.sort { ($0.times[.run] ?? 0, $0.id) > ($1.times[.run] ?? 0, $1.id) }
    inactive.sort { ($0.times[.inactive] ?? 0, $0.id) > ($1.times[.inactive] ?? 0, $1.id) }
    return pending + running + inactive
  }

  private func stats() -> JSON {
    var states: [JobState: Int64] = [:]
    var results: [JobResult: Int64] = [:]
    for job in manager.jobs.values {
      states[job.state, default: 0] += 1
      if let result = job.result { results[result, default: 0] += 1 }
    }
    let count = { (state: JobState) -> JSON in .int(states[state] ?? 0) }
    return [
      "job_states": [
        "depend": count(.depend), "priority": count(.priority), "sched": count(.sched), "run": count(.run),
        "cleanup": count(.cleanup), "inactive": count(.inactive), "total": .int(Int64(manager.jobs.count)),
      ],
      "successful": .int(results[.completed] ?? 0),
      "failed": .int(results[.failed] ?? 0),
      "canceled": .int(results[.canceled] ?? 0), "timeout": .int(results[.timeout] ?? 0), "inactive_purged": 0,
      "queues": [],
    ]
  }
}
