// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-info`: a job's documents and logs, looked up or followed.
final class JobInfoService: Service {
  private struct Watch {
    var job: JobID
    var path: String
  }

  private unowned let broker: Broker
  private unowned let manager: JobManager
  private let updates: JobUpdates
  private var watches = StreamSet<Watch>()
  /// The numbers of the watches of each job, so that an event finds its watchers without a search.
  private var byJob: [JobID: Set<UInt64>] = [:]

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    updates = JobUpdates(broker, manager)
    manager.observers.append { [weak self] job, entry in
      self?.tell(job, "eventlog", line: { entry.line })
      if entry.name == "start" { self?.tellPrepared(job) }
      guard entry.name == "clean" else { return }
      // The guest logs of a job that never started end here too.
      for path in ["eventlog", "guest.exec.eventlog", "guest.output"] { self?.end(job, path) }
    }
    manager.guestObservers.append { [weak self] job, log, line in
      guard let line else { return self?.end(job, log.rawValue) ?? () }
      // Logs may be prepared before the job starts; who follows them sees them from then on.
      if job.hasStarted || job.isExecuted { self?.tell(job, log.rawValue, line: { line }) }
    }
  }

  func handle(_ request: Request) throws(ServiceError) {
    switch request.method {
    case "lookup": try lookup(request)
    case "eventlog-watch": try watch(request)
    case "eventlog-watch-cancel": cancel(request)
    case "update-lookup": try updates.lookup(request)
    case "update-watch": try updates.watch(request)
    case "update-watch-cancel": updates.cancel(request)
    default: throw Broker.unknownMethod(request)
    }
  }

  func disconnect(_ departure: Departure) {
    updates.disconnect(departure)
    for watch in watches.drop(departure) {
      byJob[watch.job] = byJob[watch.job]?.filter { watches.streams[$0] != nil }
      if byJob[watch.job]?.isEmpty == true { byJob[watch.job] = nil }
    }
  }

  // MARK: Lookup

  private func lookup(_ request: Request) throws(ServiceError) {
    let known = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry, "invalid job id"))
    let keys = request.payload["keys"]?.arrayValue ?? []
    let job = try manager.whole(known, withLogs: keys.contains { $0.stringValue?.hasPrefix("guest.") ?? false })
    let flags = request.payload["flags"]?.intValue ?? 0
    var answer: JSONObject = ["id": job.id.json]
    for key in keys {
      let name = key.stringValue ?? ""
      guard let value = document(job, name, current: flags & 2 != 0) else {
        throw ServiceError(.noEntry, "\(name): key not found")
      }
      if flags & 1 != 0, name == "jobspec" || name == "R", let json = try? JSON(parsing: value) {
        answer[name] = json
      } else {
        answer[name] = .string(value)
      }
    }
    broker.respond(request, .object(answer))
  }

  private func document(_ job: Job, _ name: String, current: Bool) -> String? {
    switch name {
    case "J": return job.signed
    // What Flux has to put together anew it writes with spaces; the rest is as it was stored.
    case "jobspec": return current ? job.current.spacedText : job.redacted.text
    case "R":
      var resources = job.resources
      if !current, let first = job.firstExpiration { resources?.expiration = first }
      return current ? resources?.json.spacedText : resources?.json.text
    case "eventlog": return job.eventlog.map(\.line).joined()
    case "guest.exec.eventlog": return job.execLog.isEmpty ? nil : job.execLog.joined()
    case "guest.output": return job.output.isEmpty ? nil : job.output.joined()
    default: return nil
    }
  }

  // MARK: Following

  private func watch(_ request: Request) throws(ServiceError) {
    let flags = request.payload["flags"]?.intValue ?? 0
    guard request.isStreaming, flags & ~3 == 0 else { throw ServiceError(.protocolError) }
    let known = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry))
    let path = try request.string("path")
    let job = try manager.whole(known, withLogs: path != "eventlog")
    let lines: [String]
    let isOpen: Bool
    switch path {
    case "eventlog":
      lines = job.eventlog.map(\.line)
      isOpen = job.isActive
    case "guest.exec.eventlog", "guest.output":
      let isVisible = job.hasStarted || job.isExecuted || !job.isActive
      lines = !isVisible ? [] : path == "guest.output" ? job.output : job.execLog
      isOpen = job.isActive && job.isGuestOpen
    default: throw ServiceError(.noEntry)
    }
    // A log that may still come into being is waited for. Those of a job that never started are empty; else it is not there.
    if lines.isEmpty, !isOpen { throw ServiceError(job.times[.run] == nil ? .noData : .noEntry) }
    for line in lines { broker.respond(request, ["event": .string(line)]) }
    // A response without a payload: the end of what is there already.
    if flags & 2 != 0 { broker.respond(request) }
    guard isOpen else { return broker.respond(request, errnum: .noData) }
    let number = watches.add(request, Watch(job: job.id, path: path))
    byJob[job.id, default: []].insert(number)
  }

  private func cancel(_ request: Request) {
    guard let number = watches.find(cancelledBy: request), let watch = watches.streams[number]?.state else { return }
    remove(number, of: watch.job).map { broker.respond($0, errnum: .noData) }
  }

  private func tell(_ job: Job, _ path: String, line: () -> String) {
    guard let numbers = byJob[job.id] else { return }
    var text: String?
    for number in numbers.sorted() {
      guard let (request, watch) = watches.streams[number], watch.path == path else { continue }
      text = text ?? line()
      broker.respond(request, ["event": .string(text ?? "")])
    }
  }

  private func tellPrepared(_ job: Job) {
    guard !job.isExecuted else { return }
    for line in job.execLog { tell(job, "guest.exec.eventlog", line: { line }) }
    for line in job.output { tell(job, "guest.output", line: { line }) }
  }

  private func end(_ job: Job, _ path: String) {
    for number in (byJob[job.id] ?? []).sorted() where watches.streams[number]?.state.path == path {
      remove(number, of: job.id).map { broker.respond($0, errnum: .noData) }
    }
  }

  private func remove(_ number: UInt64, of job: JobID) -> Request? {
    byJob[job]?.remove(number)
    if byJob[job]?.isEmpty == true { byJob[job] = nil }
    return watches.remove(number)
  }
}
