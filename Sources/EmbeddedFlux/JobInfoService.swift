// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-info`: a job's documents and logs, looked up or followed.
final class JobInfoService: Service {
  private struct Watch {
    var job: JobID
    var log: StateBatch.Log
    /// How far it has got.
    let cursor: LogCursor
    var isSentinelDue: Bool
    /// Whether it has all that there is, and is told of each entry. Else it takes them from the log, as fast as they are read.
    var isLive = false
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
      self?.tell(job, .events, line: { entry.line })
      if entry.name == "start" { self?.tellPrepared(job) }
      guard entry.name == "clean" else { return }
      // The guest logs of a job that never started end here too.
      for log in Self.logs.values { self?.end(job, log) }
    }
    manager.guestObservers.append { [weak self] job, log, line in
      guard let self else { return }
      guard let line else { return end(job, log.place) }
      guard isVisible(job, log.place) else { return }
      // The header of the log of standard input is told when the shell is there, and written later, or never.
      if log == .exec { tellHeader(job, line) }
      if log != .input || job.input.count > 1 { tell(job, log.place, line: { line }) }
    }
  }

  private enum Topic: String, ServiceTopic {
    case lookup = "job-info.lookup"
    case eventlogWatch = "job-info.eventlog-watch"
    case eventlogWatchCancel = "job-info.eventlog-watch-cancel"
    case updateLookup = "job-info.update-lookup"
    case updateWatch = "job-info.update-watch"
    case updateWatchCancel = "job-info.update-watch-cancel"
  }

  var topics: [String] { Topic.all }
  var streamCount: Int { watches.count + updates.count }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .lookup: try lookup(request)
    case .eventlogWatch: try watch(request)
    case .eventlogWatchCancel: cancel(request)
    case .updateLookup: try updates.lookup(request)
    case .updateWatch: try updates.watch(request)
    case .updateWatchCancel: updates.cancel(request)
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
    var asked: Set<String> = []
    var left = Self.maximumAnswer
    for key in keys {
      let name = key.stringValue ?? ""
      // Whoever asks for the same twice gets it once.
      guard asked.insert(name).inserted else { continue }
      guard let value = try document(job, name, current: flags & 2 != 0, upTo: left) else {
        throw ServiceError(.noEntry, "\(name): key not found")
      }
      left -= value.utf8.count
      if flags & 1 != 0, name == "jobspec" || name == "R", let json = try? JSON(parsing: value) {
        answer[name] = json
      } else {
        answer[name] = .string(value)
      }
    }
    let payload = Message.payload(of: .object(answer))
    guard payload.readableBytes <= Self.maximumAnswer else { throw Self.tooLong }
    broker.respond(to: request.message, payload: payload)
  }

  /// The longest answer to a lookup, in bytes. Logs that are longer can be followed.
  static let maximumAnswer = 64 << 20

  /// What is said instead of an answer that is too long.
  static let tooLong = ServiceError(
    .overflow, "the answer is longer than 64 MiB: follow the log instead (flux job attach)")

  /// - Throws: EOVERFLOW when it is longer than it may be: a log is not put together to find that out.
  private func document(
    _ job: Job, _ name: String, current: Bool, upTo limit: Int
  ) throws(ServiceError) -> String? {
    if let log = JobManager.GuestLog(rawValue: name), job.length(of: log) > limit { throw Self.tooLong }
    switch name {
    case "J": return job.signed
    // What Flux has to put together anew it writes with spaces; the rest is as it was stored.
    case "jobspec": return current ? job.current.spacedText : job.redacted.text
    case "R":
      var resources = job.resources
      if !current, let first = job.firstExpiration { resources?.expiration = first }
      return current ? resources?.json.spacedText : resources?.json.text
    case "eventlog":
      var text = ""
      for entry in job.eventlog {
        text += entry.line
        guard text.utf8.count <= limit else { throw Self.tooLong }
      }
      return text
    case "guest.exec.eventlog": return job.execLog.isEmpty ? nil : job.execLog.joined()
    case "guest.output": return job.output.isEmpty ? nil : job.output.joined()
    case "guest.input":
      let lines = job.inputLog
      return lines.isEmpty ? nil : lines.joined()
    default: return nil
    }
  }

  // MARK: Following

  private func watch(_ request: Request) throws(ServiceError) {
    let flags = request.payload["flags"]?.intValue ?? 0
    guard request.isStreaming, flags & ~3 == 0 else { throw ServiceError(.protocolError) }
    let job = try manager.job(try request.jobID(), unknown: ServiceError(.noEntry))
    let path = try request.string("path")
    guard let log = Self.logs[path] else { throw ServiceError(.noEntry) }
    let cursor = LogCursor(manager, job.id, log)
    // A log that may still come into being is waited for. Those of a job that never started are empty; else it is not there.
    let first = isVisible(job, log) ? try cursor.next() : nil
    if first == nil, !isOpen(job, log) { throw ServiceError(job.times[.run] == nil ? .noData : .noEntry) }
    let watch = Watch(job: job.id, log: log, cursor: cursor, isSentinelDue: flags & 2 != 0)
    let number = try watches.add(request, watch)
    byJob[job.id, default: []].insert(number)
    if let first { broker.respond(request, ["event": .string(first)]) }
    beginReplay(number, request)
  }

  private static let logs: [String: StateBatch.Log] = JobManager.GuestLog.allCases.reduce(into: ["eventlog": .events]) {
    $0[$1.rawValue] = $1.place
  }

  private func beginReplay(_ number: UInt64, _ request: Request) {
    broker.respond(request, from: { [weak self] in self?.replay(number) ?? false })
  }

  private func isOpen(_ job: Job, _ log: StateBatch.Log) -> Bool {
    job.isActive && (log == .events || job.isGuestOpen)
  }

  /// Logs may be prepared before the job starts; who follows them sees them from then on.
  private func isVisible(_ job: Job, _ log: StateBatch.Log) -> Bool {
    log == .events || job.hasStarted || job.isExecuted || !job.isActive
  }

  /// Gives the next entry of what is there already, until the stream is as far as its log.
  private func replay(_ number: UInt64) -> Bool {
    guard let (request, watch) = watches.streams[number] else { return false }
    do throws(ServiceError) {
      guard let job = manager.jobs[watch.job] else { throw ServiceError(.noEntry) }
      if isVisible(job, watch.log), let line = try watch.cursor.next() {
        broker.respond(request, ["event": .string(line)])
        return true
      }
      // A response without a payload: the end of what is there already.
      if watch.isSentinelDue { broker.respond(request) }
      guard isOpen(job, watch.log) else { throw ServiceError(.noData) }
      var watch = watch
      watch.isSentinelDue = false
      watch.isLive = true
      watches.update(number, watch)
    } catch {
      remove(number, of: watch.job).map { broker.respond($0, errnum: error.errnum, text: error.text) }
    }
    return false
  }

  private func cancel(_ request: Request) {
    guard let number = watches.find(cancelledBy: request), let watch = watches.streams[number]?.state else { return }
    remove(number, of: watch.job).map { broker.respond($0, errnum: .noData) }
  }

  private func tell(_ job: Job, _ log: StateBatch.Log, line: () -> String) {
    guard let numbers = byJob[job.id] else { return }
    var told: [Request] = []
    for number in numbers.sorted() {
      guard let (request, watch) = watches.streams[number], watch.log == log, watch.isLive else { continue }
      guard broker.hasRoom(for: request) else {
        // Its client reads more slowly than the log grows.
        var watch = watch
        watch.isLive = false
        watches.update(number, watch)
        beginReplay(number, request)
        continue
      }
      watch.cursor.skip()
      told.append(request)
    }
    broker.respond(toAll: told) { Message.payload(of: ["event": .string(line())]) }
  }

  private func tellHeader(_ job: Job, _ line: String) {
    guard byJob[job.id] != nil, job.isExecuted, let header = InputLog.header(from: line) else { return }
    tell(job, .input, line: { header })
  }

  private func tellPrepared(_ job: Job) {
    guard !job.isExecuted else { return }
    for line in job.execLog { tell(job, .execution, line: { line }) }
    for line in job.output { tell(job, .output, line: { line }) }
  }

  /// Those that are behind come to the end by themselves, but when the log was emptied.
  private func end(_ job: Job, _ log: StateBatch.Log) {
    let isEmptied = isOpen(job, log)
    for number in (byJob[job.id] ?? []).sorted() {
      guard let watch = watches.streams[number]?.state, watch.log == log, watch.isLive || isEmptied else { continue }
      remove(number, of: job.id).map { broker.respond($0, errnum: .noData) }
    }
  }

  private func remove(_ number: UInt64, of job: JobID) -> Request? {
    byJob[job]?.remove(number)
    if byJob[job]?.isEmpty == true { byJob[job] = nil }
    return watches.remove(number)
  }
}
