// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc

/// The requests of `job-manager`.
final class JobManagerService: Service {
  unowned let broker: Broker
  unowned let manager: JobManager
  private let journal: Journal
  private var waiters = StreamSet<JobID?>()
  /// Who waits until no job is active, and until none runs or is about to.
  var drainers = StreamSet<Void>()
  var idlers = StreamSet<Void>()
  var isCheckDue = false

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    journal = Journal(broker, manager)
    manager.observers.append { [weak self] job, entry in
      if entry.name == "clean" { self?.answerWaiters(job) }
      self?.checkIdle()
    }
  }

  private enum Topic: String, ServiceTopic {
    case raise = "job-manager.raise"
    case raiseAll = "job-manager.raiseall"
    case kill = "job-manager.kill"
    case urgency = "job-manager.urgency"
    case memo = "job-manager.memo"
    case update = "job-manager.update"
    case wait = "job-manager.wait"
    case getAttributes = "job-manager.getattr"
    case postEvent = "job-manager.post-event.post"
    case list = "job-manager.list"
    case getInfo = "job-manager.getinfo"
    case history = "job-manager.history.get"
    case queueList = "job-manager.queue-list"
    case queueStatus = "job-manager.queue-status"
    case queueEnable = "job-manager.queue-enable"
    case queueStart = "job-manager.queue-start"
    case allocQuery = "job-manager.alloc-query"
    case drain = "job-manager.drain"
    case idle = "job-manager.idle"
    case killAll = "job-manager.killall"
    case purge = "job-manager.purge"
    case purgeOne = "job-manager.purge-id"
    case jobtap = "job-manager.jobtap"
    case jobtapQuery = "job-manager.jobtap-query"
    case eventsJournal = "job-manager.events-journal"
    case eventsJournalCancel = "job-manager.events-journal-cancel"
    case statsGet = "job-manager.stats-get"
  }

  var topics: [String] { Topic.all }
  /// Whether somebody hears of what happens to all jobs.
  var isFollowed: Bool { journal.count > 0 }
  var streamCount: Int { journal.count + waiters.count + drainers.count + idlers.count }

  func handle(_ request: Request) throws(ServiceError) {
    if manager.plugins.handle(request) { return }
    switch try Topic(request) {
    case .raise: try raise(request)
    case .raiseAll: try raiseAll(request)
    case .kill: try kill(request)
    case .urgency: try urgency(request)
    case .memo: try memo(request)
    case .update: try update(request)
    case .wait: try wait(request)
    case .getAttributes: try getAttributes(request)
    case .postEvent: try postEvent(request)
    case .list: list(request)
    case .getInfo: broker.respond(request, ["max_jobid": (manager.order.last ?? JobID(rawValue: 0)).json])
    case .history: try history(request)
    case .queueList: broker.respond(request, ["queues": .array(manager.queues.names.map { .string($0) })])
    case .queueStatus: try queueStatus(request)
    case .queueEnable: try queueEnable(request)
    case .queueStart: try queueStart(request)
    case .allocQuery: allocationQuery(request)
    case .drain, .idle: try waitUntilIdle(request)
    case .killAll: try killAll(request)
    case .purge: try purge(request)
    case .purgeOne: try purgeOne(request)
    case .jobtap: try jobtap(request)
    case .jobtapQuery: try query(request)
    case .eventsJournal: try journal.open(request)
    case .eventsJournalCancel: journal.cancel(request)
    case .statsGet:
      broker.respond(
        request,
        [
          "journal": ["listeners": .int(Int64(journal.count))], "active_jobs": .int(Int64(manager.activeCount)),
          "inactive_jobs": .int(Int64(manager.jobs.count - manager.activeCount)),
          "housekeeping": ["running": [:]],
        ])
    }
  }

  func disconnect(_ departure: Departure) {
    journal.disconnect(departure)
    waiters.drop(departure)
    drainers.drop(departure)
    idlers.drop(departure)
    manager.plugins.disconnect(departure)
  }

  // MARK: Control

  private func active(_ request: Request, unknown: String = "unknown job id") throws(ServiceError) -> Job {
    let job = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry, unknown))
    guard job.isActive else { throw ServiceError(.noEntry, "job is inactive") }
    return job
  }

  /// A request adds to a job's events, which are kept for as long as the job is: up to a limit.
  private func charge(_ job: Job, _ request: Request) throws(ServiceError) {
    let cost = (request.message.payload?.readableBytes ?? 0) + Job.eventCost
    guard job.requested + cost <= Job.maximumRequested else {
      throw ServiceError(
        .overflow, "requests have added \(Job.maximumRequested >> 20) MiB to the job's events: no more")
    }
    job.requested += cost
  }

  private func raise(_ request: Request) throws(ServiceError) {
    let type = try request.string("type")
    let severity = try request.int("severity")
    try Self.checkException(type, severity)
    let job = try active(request)
    // What ends the job is always taken; it happens once.
    if severity > 0 || job.wasRaised { try charge(job, request) }
    let status = request.payload["wait_status"]?.intValue.map { WaitStatus(rawValue: Int32(truncatingIfNeeded: $0)) }
    manager.raise(
      job, type: type, severity: severity, note: request.payload["note"]?.stringValue ?? "", userID: request.userID,
      waitStatus: status)
    broker.respond(request)
  }

  private static func checkException(_ type: String, _ severity: Int) throws(ServiceError) {
    guard (0...7).contains(severity) else { throw ServiceError(.protocolError, "invalid exception severity") }
    guard !type.isEmpty, !type.contains(where: { " =\t\n".contains($0) }) else {
      throw ServiceError(.protocolError, "invalid exception type")
    }
  }

  private func raiseAll(_ request: Request) throws(ServiceError) {
    let states = try request.int("states")
    let type = try request.string("type")
    let severity = try request.int("severity")
    try Self.checkException(type, severity)
    let user = try request.int("userid")
    let note = request.payload["note"]?.stringValue ?? ""
    guard type.utf8.count <= Self.maximumNote, note.utf8.count <= Self.maximumNote else {
      throw ServiceError(
        .invalid, "the type and the note of an exception for all jobs have at most \(Self.maximumNote) bytes")
    }
    let chosen = manager.active.values.filter {
      $0.state.rawValue & states != 0
        && (user == Int(UInt32.max) || user == -1 || user == Int($0.userID))
    }.sorted { $0.id < $1.id }
    var errors = 0
    if request.payload["dry_run"]?.boolValue != true {
      for job in chosen {
        do throws(ServiceError) {
          if severity > 0 || job.wasRaised { try charge(job, request) }
          manager.raise(job, type: type, severity: severity, note: note, userID: request.userID)
        } catch { errors += 1 }
      }
    }
    broker.respond(request, ["count": .int(Int64(chosen.count)), "errors": .int(Int64(errors))])
  }

  /// How long the type and the note of an exception may be that all jobs get, in bytes: each of them keeps it.
  private static let maximumNote = 4096

  private func kill(_ request: Request) throws(ServiceError) {
    let signal = try signal(request)
    let job = try manager.job(try request.jobID(), unknown: ServiceError(.invalid, "unknown job id"))
    guard job.isActive else { throw ServiceError(.invalid, "job is inactive") }
    guard job.isRunning else { throw ServiceError(.invalid, "job is not running") }
    manager.kill(job, signal: signal)
    broker.respond(request)
  }

  func signal(_ request: Request) throws(ServiceError) -> Int {
    let signal = try request.int("signum")
    guard (1...64).contains(signal) else { throw ServiceError(.invalid, "Invalid signal number") }
    return signal
  }

  private func urgency(_ request: Request) throws(ServiceError) {
    let urgency = try request.int("urgency")
    guard (0...31).contains(urgency) else { throw ServiceError(.invalid, "urgency value is out of range") }
    let job = try active(request, unknown: "unknown job")
    guard job.resources == nil else {
      throw ServiceError(.invalid, "urgency cannot be changed once resources are allocated")
    }
    try charge(job, request)
    let old = job.urgency
    manager.post(job, "urgency", ["userid": .int(Int64(request.userID)), "urgency": .int(Int64(urgency))])
    broker.respond(request, ["old_urgency": .int(Int64(old))])
  }

  private func memo(_ request: Request) throws(ServiceError) {
    let job = try active(request)
    guard let value = request.payload["memo"] else { throw .malformed(request.topic, "memo") }
    guard let memo = value.objectValue else { throw ServiceError(.invalid) }
    let isVolatile = request.payload["volatile"] ?? false
    guard case .bool(let isVolatile) = isVolatile else { throw .malformed(request.topic, "volatile") }
    try charge(job, request)
    if isVolatile { manager.note(job, memo: memo) } else { manager.post(job, "memo", memo) }
    broker.respond(request)
  }

  private func update(_ request: Request) throws(ServiceError) {
    let id = try request.jobID()
    guard let value = request.payload["updates"] else { throw .malformed(request.topic, "updates") }
    guard let updates = value.objectValue, JobManager.areUpdates(updates) else {
      throw ServiceError(.invalid, "one or more jobspec updates are invalid")
    }
    let job = try manager.job(id)
    guard job.isActive else { throw ServiceError(.invalid, "job is inactive") }
    try charge(job, request)
    try manager.update(job, updates, for: request)
    broker.respond(request)
  }

  private func postEvent(_ request: Request) throws(ServiceError) {
    let job = try active(request)
    let name = try request.string("name")
    let context = request.payload["context"]?.objectValue
    if name == "jobspec-update", context?.count ?? 0 > JobManager.maximumUpdates {
      throw ServiceError(.invalid, "an update has at most \(JobManager.maximumUpdates) keys")
    }
    try charge(job, request)
    manager.post(job, name, context)
    broker.respond(request)
  }

  // MARK: Waiting

  private func wait(_ request: Request) throws(ServiceError) {
    let wanted = try request.int("id")
    if wanted != -1 {
      let id = try request.jobID()
      if let job = manager.active[id] {
        guard job.isWaitable else { throw ServiceError(.noChild, "job was not submitted with FLUX_JOB_WAITABLE") }
        guard !waiters.streams.values.contains(where: { $0.state == id }) else {
          throw ServiceError(.noChild, "job id already has a waiter")
        }
      }
      guard let job = manager.jobs[id], job.isWaitable, !manager.isWaited.contains(id) else {
        throw ServiceError(.noChild, "invalid job id, or job may be inactive and not waitable")
      }
      if job.isActive { _ = try waiters.add(request, id) } else { answer(request, job) }
      return
    }
    let open = manager.jobs.values.filter { $0.isWaitable && !manager.isWaited.contains($0.id) }
    guard !open.isEmpty else { throw ServiceError(.noChild, "there are no more waitable jobs") }
    if let done = open.first(where: { !$0.isActive }) {
      answer(request, done)
    } else {
      _ = try waiters.add(request, nil)
    }
  }

  private func answerWaiters(_ job: Job) {
    guard job.isWaitable else { return }
    let match = waiters.streams.filter { $0.value.state == nil || $0.value.state == job.id }.keys.min()
    if let match, let request = waiters.remove(match) { answer(request, job) }
  }

  private func answer(_ request: Request, _ job: Job) {
    manager.keepWaited(job)
    let isSuccess = job.outcome == .completed
    var words = ""
    if !isSuccess {
      if let status = job.waitStatus, status.rawValue != 0 {
        words = status.signal.map { "task(s) signal \($0)" } ?? "task(s) exited with exit code \(status.exitCode ?? 1)"
      } else {
        words = "Fatal exception type=\(job.failure?.type ?? "") \(job.failure?.note ?? "")"
      }
    }
    broker.respond(request, ["id": job.id.json, "success": .bool(isSuccess), "errstr": .string(words)])
  }

  // MARK: Looking

  private func getAttributes(_ request: Request) throws(ServiceError) {
    let known = try manager.job(try request.jobID(), unknown: ServiceError(.invalid, "unknown job"))
    let job = try manager.whole(known)
    var answer: JSONObject = ["id": job.id.json]
    for name in request.payload["attrs"]?.arrayValue ?? [] {
      // Whoever asks for the same twice gets it once.
      if let known = name.stringValue, known != "id", answer[known] != nil { continue }
      switch name.stringValue {
      case "jobspec": answer["jobspec"] = job.current
      case "R":
        guard let resources = job.resources else { throw ServiceError(.noEntry) }
        answer["R"] = resources.json
      case "eventlog": answer["eventlog"] = .array(job.eventlog.map(\.json))
      default: throw ServiceError(.invalid, "unknown attr \(name.stringValue ?? "")")
      }
    }
    let payload = Message.payload(of: .object(answer))
    guard payload.readableBytes <= JobInfoService.maximumAnswer else { throw JobInfoService.tooLong }
    broker.respond(to: request.message, payload: payload)
  }

  private func list(_ request: Request) {
    let limit = Int(request.payload["max_entries"]?.intValue ?? 0)
    let active = manager.active.values.sorted { $0.id < $1.id }
    let jobs = (limit > 0 ? active.prefix(limit) : active[...]).map { job -> JSON in
      [
        "id": job.id.json, "userid": .int(Int64(job.userID)), "urgency": .int(Int64(job.urgency)),
        "priority": .int(job.priority), "t_submit": .double(job.times[.new] ?? 0),
        "state": .int(Int64(job.state.rawValue)),
      ]
    }
    broker.respond(request, ["jobs": .array(jobs)])
  }

  /// The newest jobs first, by a Python slice: `flux job last` asks for `[:1]`, `[-1:]`, `[1:3]` or `[:]`.
  private func history(_ request: Request) throws(ServiceError) {
    let newest = manager.order.reversed()
    let words = (request.payload["slice"]?.stringValue ?? "[:]").dropFirst().dropLast()
    let parts = words.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.isEmpty || Int($0) != nil }) else {
      throw ServiceError(.invalid, "a slice is [FROM:TO], such as [:1]")
    }
    let bounds = parts.map { part -> Int? in
      Int(part).map { min(max($0 < 0 ? newest.count &+ $0 : $0, 0), newest.count) }
    }
    let lower = bounds[0] ?? 0
    let upper = bounds[1] ?? newest.count
    let chosen = newest.dropFirst(lower).prefix(max(upper - lower, 0))
    broker.respond(request, ["jobs": .array(chosen.map(\.json))])
  }

  // MARK: Plugins

  private func jobtap(_ request: Request) throws(ServiceError) {
    if request.payload["query_only"]?.boolValue == true {
      return broker.respond(request, ["plugins": .array(manager.plugins.names.map { .string($0) })])
    }
    if let name = request.payload["remove"]?.stringValue { try manager.plugins.remove(name) }
    if let path = request.payload["load"]?.stringValue { try manager.plugins.load(path, request.payload["conf"]) }
    broker.respond(request)
  }

  private func query(_ request: Request) throws(ServiceError) {
    broker.respond(request, try manager.plugins.query(try request.string("name")))
  }
}
