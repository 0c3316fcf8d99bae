// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// All that the instance knows of one job. What follows from events is derived in ``apply(_:)`` alone (RFC 21), so that the
/// eventlog proves the state.
final class Job {
  let id: JobID
  let userID: UInt32
  let flags: Int
  /// Its documents and logs; nil once it has ended and they are in the state directory alone.
  private(set) var body: JobBody?
  /// What listings show of the body when that is not here.
  private(set) var digest: JobDigest?
  private(set) var state = JobState.new
  private(set) var urgency: Int
  private(set) var priority: Int64 = -1
  private(set) var times: [JobState: Double] = [:]
  /// Whether its `start` is in the eventlog.
  private(set) var hasStarted = false
  private(set) var waitStatus: WaitStatus?
  /// Whether a fatal exception came before any `finish`.
  private(set) var isEndedByException = false
  private(set) var failure: (type: String, severity: Int, note: String)?
  private(set) var memo: JSONObject = [:]
  private(set) var dependencies: [String] = []
  /// The jobs among whose dependants it is.
  var awaited: Set<JobID> = []
  /// Flags that were set by event: `alloc-bypass`, `debug`.
  private(set) var setFlags: Set<String> = []
  var annotations: JSONObject = [:]
  /// Whether the guest logs can still grow.
  var isGuestOpen = true
  /// Events that were posted while another was processed.
  var pending: [EventlogEntry] = []
  var isProcessing = false
  /// Whether a fatal exception was raised, and not only written into its eventlog: then its execution is ended.
  var wasRaised = false
  /// The wait status that the first fatal exception gave.
  var raisedStatus: WaitStatus?
  /// The signal that a fatal exception sends to the job's processes.
  var endSignal = SIGTERM
  /// How many prologs and epilogs of plugins hold it: it is not run, and does not leave CLEANUP.
  private(set) var openPerilogs = 0
  /// Whether one holds it, or is about to.
  var isHeld: Bool {
    openPerilogs > 0 || pending.contains { $0.name == "epilog-start" || $0.name == "prolog-start" }
  }
  /// Whether its processes were started.
  var isExecuted = false
  /// Whether there is a namespace for its logs that a client writes.
  var hasNamespace = false
  /// Whether its resources were given back.
  var isReleased = false
  /// The most that clients' requests may add to its events, in bytes.
  static let maximumRequested = 64 << 20
  /// What an event costs beside what it says, about.
  static let eventCost = 256
  /// How much they have added.
  var requested = 0
  /// What plugins keep for the job.
  var pluginData: [PluginDatum] = []
  /// The plugins that follow the job's events.
  var subscribers: Set<ObjectIdentifier> = []

  /// A plugin's datum for a job, with the function that frees it.
  struct PluginDatum {
    var owner: ObjectIdentifier
    var name: String
    var free: () -> Void
  }

  init(id: JobID, userID: UInt32, urgency: Int, flags: Int, body: JobBody?) {
    self.id = id
    self.userID = userID
    self.urgency = urgency
    self.flags = flags
    self.body = body
  }

  var isActive: Bool { state != .inactive }
  /// RUN or CLEANUP.
  var isRunning: Bool { state == .run || state == .cleanup }
  var isWaitable: Bool { flags & 4 != 0 }

  /// Takes the next event of the job's eventlog.
  ///
  /// - Returns: the state before, when the event changed it.
  func apply(_ entry: EventlogEntry) -> JobState? {
    body?.eventlog.append(entry)
    let before = state
    switch entry.name {
    case "submit": times[.new] = entry.timestamp
    case "validate": if state == .new { state = .depend }
    case "depend": if state == .depend { state = .priority }
    case "priority":
      priority = entry.context?["priority"]?.intValue ?? priority
      if state == .priority { state = .sched }
    case "alloc": if state == .sched { state = .run }
    case "start": hasStarted = true
    case "finish":
      guard waitStatus == nil else { break }
      waitStatus = WaitStatus(rawValue: Int32(truncatingIfNeeded: entry.context?["status"]?.intValue ?? 0))
      if state == .run { state = .cleanup }
    case "clean": if state == .cleanup { state = .inactive }
    case "exception": note(exception: entry)
    case "urgency":
      urgency = Int(entry.context?["urgency"]?.intValue ?? Int64(urgency))
      if state == .sched { state = .priority }
    case "jobspec-update": update(entry)
    case "flux-restart": if state == .sched { state = .priority }
    case "dependency-add":
      if let name = entry.context?["description"]?.stringValue { dependencies.append(name) }
    case "dependency-remove":
      dependencies.removeAll { $0 == entry.context?["description"]?.stringValue }
    case "prolog-start" where !isExecuted: openPerilogs += 1
    case "epilog-start" where state == .cleanup: openPerilogs += 1
    case "prolog-finish" where !isExecuted: openPerilogs = max(0, openPerilogs - 1)
    case "epilog-finish" where state == .cleanup: openPerilogs = max(0, openPerilogs - 1)
    case "set-flags": setFlags.formUnion(entry.context?["flags"]?.arrayValue?.compactMap(\.stringValue) ?? [])
    case "memo": note(memo: entry.context ?? [:])
    case "resource-update":
      guard let expiration = entry.context?["expiration"]?.doubleValue, let resources else { break }
      body?.firstExpiration = firstExpiration ?? resources.expiration
      body?.resources?.expiration = expiration
    default: break
    }
    guard state != before else { return nil }
    times[state] = entry.timestamp
    return before
  }

  private func note(exception entry: EventlogEntry) {
    let severity = Int(entry.context?["severity"]?.intValue ?? 0)
    if failure == nil || severity < (failure?.severity ?? 0) {
      failure = (
        entry.context?["type"]?.stringValue ?? "", severity, entry.context?["note"]?.stringValue ?? ""
      )
    }
    if severity == 0, waitStatus == nil { isEndedByException = true }
    if severity == 0, state != .new, state != .inactive { state = .cleanup }
  }

  /// A memo, whether it is an event of the eventlog or not.
  func note(memo members: JSONObject) { memo.merge(annotations: members) }

  /// The jobspec as it would be with updates.
  func jobspec(with updates: JSONObject) -> JSON {
    var updated = current
    for (path, value) in updates { updated.set(path: path, to: value) }
    return updated
  }

  private func update(_ entry: EventlogEntry) {
    body?.current = jobspec(with: entry.context ?? [:])
    // An event that somebody posts is not checked before: what cannot be counted with is not asked for.
    if let updated = try? Jobspec(current), (try? IngestService.check(sizeOf: updated)) != nil {
      body?.demand = VirtualCluster.Demand(updated)
    }
    if state == .sched { state = .priority }
  }

  /// How the job ended; nil while it is active.
  var result: JobResult? {
    guard state == .inactive else { return nil }
    if times[.run] != nil, waitStatus?.rawValue == 0 { return .completed }
    switch failure {
    case .some(let failure) where failure.severity == 0 && failure.type == "cancel": return .canceled
    case .some(let failure) where failure.severity == 0 && failure.type == "timeout": return .timeout
    default: return .failed
    }
  }

  /// How it ended for those that wait for it: by the first of a fatal exception and `finish`, as Flux's job manager judges, while its
  /// listings go by the wait status.
  var outcome: JobResult? {
    guard let result, let failure, failure.severity == 0, result == .completed, isEndedByException else {
      return result
    }
    return failure.type == "cancel" ? .canceled : failure.type == "timeout" ? .timeout : .failed
  }

  /// The wait status of a job that a fatal exception has ended: what that gave, and never success.
  func statusAfterException(_ status: WaitStatus) -> WaitStatus {
    if let raisedStatus { return WaitStatus(exit: raisedStatus.returnCode) }
    return status.rawValue == 0 ? WaitStatus(exit: 1) : status
  }

  /// Whether it takes resources that a plugin gives it, past the scheduler.
  var bypassesScheduler: Bool { setFlags.contains("alloc-bypass") }

  /// Whether it ever got resources.
  var hasAllocation: Bool { times[.run] != nil }

  /// Whether its eventlog says what is asked of the scheduler and of the executor (`--flags=debug`).
  var isDebugged: Bool { flags & 2 != 0 }

  /// The queue that it is in; nil is the one without a name.
  var queue: String? {
    if let digest { return digest.attributes["queue"]?.stringValue }
    return current["attributes"]?["system"]?["queue"]?.stringValue
  }

  /// The time limit in seconds; 0 is none.
  var duration: Double { current["attributes"]?["system"]?["duration"]?.doubleValue ?? 0 }
}

// MARK: Its documents

extension Job {
  /// Those that are looked at without need find nothing in a job that has only its digest: ``JobManager/whole(_:withLogs:)`` reads them.
  private var documents: JobBody { body ?? JobBody.none() }
  var signed: String { documents.signed }
  var jobspec: Jobspec { documents.jobspec }
  var redacted: JSON { documents.redacted }
  var current: JSON { documents.current }
  var demand: VirtualCluster.Demand { documents.demand }
  var eventlog: [EventlogEntry] { documents.eventlog }
  var execLog: [String] { documents.execLog }
  var output: [String] { documents.output }
  var input: [String] { documents.input }
  func length(of log: JobManager.GuestLog) -> Int { documents.lengths[log] ?? 0 }
  var firstExpiration: Double? { documents.firstExpiration }
  /// What it has, with updates applied.
  var resources: ResourceSet? {
    get { documents.resources }
    set { body?.resources = newValue }
  }

  var name: String { digest?.name ?? jobspec.name }
  /// The name that it was given, and does not have from its command.
  var givenName: String? { jobspec.json["attributes"]?["system"]?["job"]?["name"]?.stringValue }

  /// Lets the documents go, once they can be read from elsewhere.
  func shed() {
    guard state == .inactive, let body else { return }
    digest = JobDigest(body)
    self.body = nil
    pending = []
    annotations = [:]
  }

  /// Takes the documents back into memory.
  func regain(_ body: JobBody) {
    self.body = body
    digest = nil
  }
}

// MARK: The state directory

extension Job {
  /// Takes the events of its eventlog again, as a new instance that has only that.
  func replay(_ entries: [EventlogEntry]) {
    for entry in entries {
      // Without a prolog it was this instance that has run it; with one it was a plugin.
      if entry.name == "start", isRunning, openPerilogs == 0 { isExecuted = true }
      if entry.name == "exception", entry.context?["severity"]?.intValue == 0, !wasRaised {
        wasRaised = true
        raisedStatus = entry.context?["wait_status"]?.intValue.map {
          WaitStatus(rawValue: Int32(truncatingIfNeeded: $0))
        }
      }
      let isFreed = entry.name == "free" || (entry.name == "release" && isExecuted)
      if isFreed, isRunning { isReleased = true }
      _ = apply(entry)
    }
  }

  /// All that is kept of a job that has ended, but its documents.
  var record: JSON {
    var record = (digest ?? JobDigest(documents)).json
    record["times"] = .array(JobState.allCases.map { times[$0].map { .double($0) } ?? .null })
    record["urgency"] = .int(Int64(urgency))
    record["priority"] = .int(priority)
    record["status"] = waitStatus.map { .int(Int64($0.rawValue)) }
    if hasStarted { record["started"] = true }
    if isEndedByException { record["broken"] = true }
    if let failure {
      record["exception"] = [.string(failure.type), .int(Int64(failure.severity)), .string(failure.note)]
    }
    if !memo.isEmpty { record["memo"] = .object(memo) }
    if !dependencies.isEmpty { record["dependencies"] = .array(dependencies.map { .string($0) }) }
    return .object(record)
  }

  /// Becomes the inactive job of which ``record`` is kept.
  func restore(_ record: JSON) {
    state = .inactive
    digest = JobDigest(record)
    for (state, time) in zip(JobState.allCases, record["times"]?.arrayValue ?? []) { times[state] = time.doubleValue }
    urgency = Int(record["urgency"]?.intValue ?? Int64(urgency))
    priority = record["priority"]?.intValue ?? -1
    waitStatus = record["status"]?.intValue.map { WaitStatus(rawValue: Int32(truncatingIfNeeded: $0)) }
    hasStarted = record["started"]?.boolValue ?? false
    isEndedByException = record["broken"]?.boolValue ?? false
    if let exception = record["exception"] {
      failure = (
        exception[0]?.stringValue ?? "", Int(exception[1]?.intValue ?? 0), exception[2]?.stringValue ?? ""
      )
    }
    memo = record["memo"]?.objectValue ?? [:]
    dependencies = record["dependencies"]?.arrayValue?.compactMap(\.stringValue) ?? []
    isGuestOpen = false
  }
}
