// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-list`: listings of jobs by attributes and constraints.
final class JobListService: Service {
  private unowned let broker: Broker
  private unowned let manager: JobManager
  /// Who is told of the counts whenever they change.
  private var watchers = StreamSet<Void>()
  /// The listings that are under way.
  private var listings = StreamSet<Listing>(maximum: StreamLimit.maximumOfAllJobs)
  private var isTellingDue = false
  /// Changes within this time, in seconds, are told at once, as in Flux.
  private static let delay = 0.2

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    manager.observers.append { [weak self] _, _ in self?.changed() }
  }

  func disconnect(_ departure: Departure) {
    watchers.drop(departure)
    listings.drop(departure)
  }

  private func changed() {
    guard !watchers.streams.isEmpty, !isTellingDue else { return }
    isTellingDue = true
    _ = broker.after(Self.delay) { [weak self] in
      guard let self else { return }
      isTellingDue = false
      broker.respond(toAll: watchers.streams.values.map(\.request)) { Message.payload(of: self.stats()) }
    }
  }

  private enum Topic: String, ServiceTopic {
    case list = "job-list.list"
    case listID = "job-list.list-id"
    case listAttributes = "job-list.list-attrs"
    case jobStats = "job-list.job-stats"
  }

  var topics: [String] { Topic.all }
  var streamCount: Int { watchers.count + listings.count }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .list: try list(request)
    case .listID:
      let job = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry))
      broker.respond(request, ["job": JobSummary(job).json(try Self.attributes(request))])
    case .listAttributes: broker.respond(request, ["attrs": .array(JobSummary.attributes.map { .string($0) })])
    case .jobStats:
      if request.isStreaming { _ = try watchers.add(request, ()) }
      broker.respond(request, stats())
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
    let hasRoom = { limit <= 0 || found.count < limit }
    for job in sortedActive() where hasRoom() && constraint.matches(job) { found.append(job) }
    // Those that have ended are in order already: the newest are looked at, and no more than is asked for.
    for id in manager.inactive.reversed() {
      guard hasRoom(), let job = manager.jobs[id], (job.times[.inactive] ?? 0) > since else { break }
      if constraint.matches(job) { found.append(job) }
    }
    guard request.isStreaming else {
      return broker.respond(request, ["jobs": .array(found.map { JobSummary($0).json(attributes) })])
    }
    let number = try listings.add(request, Listing(jobs: found, attributes: attributes))
    broker.respond(request, from: { [weak self] in self?.tellNext(of: number) ?? false })
  }

  /// What a listing is about to tell.
  private final class Listing {
    let jobs: [Job]
    let attributes: Set<String>
    var next = 0

    init(jobs: [Job], attributes: Set<String>) {
      self.jobs = jobs
      self.attributes = attributes
    }
  }

  /// Tells of the next job of a listing. Returns whether there are more.
  private func tellNext(of number: UInt64) -> Bool {
    guard let (request, listing) = listings.streams[number] else { return false }
    guard listing.next < listing.jobs.count else {
      listings.remove(number)
      broker.respond(request, errnum: .noData)
      return false
    }
    var response: JSON = ["jobs": [JobSummary(listing.jobs[listing.next]).json(listing.attributes)]]
    if listing.next == 0 { response["version"] = 1 }
    listing.next += 1
    broker.respond(request, response)
    return true
  }

  /// Pending by priority, running by start, the newest first: Flux's order. After them come the inactive, by end.
  private func sortedActive() -> [Job] {
    var pending: [Job] = []
    var running: [Job] = []
    for job in manager.active.values { if job.isRunning { running.append(job) } else { pending.append(job) } }
    pending.sort { ($0.priority, $1.id) > ($1.priority, $0.id) }
    running.sort { ($0.times[.run] ?? 0, $0.id) > ($1.times[.run] ?? 0, $1.id) }
    return pending + running
  }

  private func stats() -> JSON {
    var states: [JobState: Int64] = [:]
    for job in manager.active.values { states[job.state, default: 0] += 1 }
    states[.inactive] = Int64(manager.inactive.count)
    let result = { (result: JobResult) -> JSON in .int(Int64(self.manager.results[result] ?? 0)) }
    let count = { (state: JobState) -> JSON in .int(states[state] ?? 0) }
    return [
      "job_states": [
        "depend": count(.depend), "priority": count(.priority), "sched": count(.sched), "run": count(.run),
        "cleanup": count(.cleanup), "inactive": count(.inactive), "total": .int(Int64(manager.jobs.count)),
      ],
      "successful": result(.completed), "failed": result(.failed), "canceled": result(.canceled),
      "timeout": result(.timeout), "inactive_purged": .int(Int64(manager.purged)),
      "queues": [],
    ]
  }
}
