// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// All that the instance knows of one job. What follows from events is derived in ``apply(_:)`` alone (RFC 21), so that the
/// eventlog proves the state.
final class Job {
  let id: JobID
  let userID: UInt32
  let flags: Int
  /// The submitted text, environment included.
  let signed: String
  /// The jobspec as submitted.
  let jobspec: Jobspec
  /// The jobspec without its environment, as everybody but the job itself sees it.
  let redacted: JSON
  /// The same with updates applied.
  private(set) var current: JSON
  /// The resources that it asks for, with updates applied.
  private(set) var demand: VirtualCluster.Demand
  private(set) var eventlog: [EventlogEntry] = []
  private(set) var state = JobState.new
  private(set) var urgency: Int
  private(set) var priority: Int64 = -1
  private(set) var times: [JobState: Double] = [:]
  /// Whether its `start` is in the eventlog.
  private(set) var hasStarted = false
  private(set) var waitStatus: WaitStatus?
  private(set) var failure: (type: String, severity: Int, note: String)?
  private(set) var memo: JSONObject = [:]
  private(set) var dependencies: [String] = []
  /// Flags that were set by event: `alloc-bypass`, `debug`.
  private(set) var setFlags: Set<String> = []
  /// What it has, with updates applied.
  var resources: ResourceSet?
  /// When its resources expired before the first update of that; nil without one.
  private(set) var firstExpiration: Double?
  var annotations: JSONObject = [:]
  /// The log of the execution (RFC 50), one JSON line an entry.
  var execLog: [String] = []
  /// The output log (RFC 24), one JSON line an entry.
  var output: [String] = []
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

  init(id: JobID, userID: UInt32, urgency: Int, flags: Int, signed: String, jobspec: Jobspec) {
    self.id = id
    self.userID = userID
    self.urgency = urgency
    self.flags = flags
    self.signed = signed
    self.jobspec = jobspec
    var redacted = jobspec.json
    if var system = redacted["attributes"]?["system"]?.objectValue {
      system["environment"] = nil
      redacted.set(path: "attributes.system", to: .object(system))
    }
    self.redacted = redacted
    current = redacted
    demand = VirtualCluster.Demand(jobspec)
  }

  var isActive: Bool { state != .inactive }
  /// RUN or CLEANUP.
  var isRunning: Bool { state == .run || state == .cleanup }
  var isWaitable: Bool { flags & 4 != 0 }

  /// Takes the next event of the job's eventlog.
  ///
  /// - Returns: the state before, when the event changed it.
  func apply(_ entry: EventlogEntry) -> JobState? {
    eventlog.append(entry)
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
      firstExpiration = firstExpiration ?? resources.expiration
      self.resources?.expiration = expiration
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
    current = jobspec(with: entry.context ?? [:])
    if let updated = try? Jobspec(current) { demand = VirtualCluster.Demand(updated) }
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
    guard let result, let failure, failure.severity == 0, result == .completed else { return result }
    let first = eventlog.first { entry in
      entry.name == "finish" || (entry.name == "exception" && entry.context?["severity"]?.intValue == 0)
    }
    guard first?.name == "exception" else { return result }
    return failure.type == "cancel" ? .canceled : failure.type == "timeout" ? .timeout : .failed
  }

  /// The wait status of a job that a fatal exception has ended: what that gave, and never success.
  func statusAfterException(_ status: WaitStatus) -> WaitStatus {
    if let raisedStatus { return WaitStatus(exit: raisedStatus.returnCode) }
    return status.rawValue == 0 ? WaitStatus(exit: 1) : status
  }

  /// Whether it takes resources that a plugin gives it, past the scheduler.
  var bypassesScheduler: Bool { setFlags.contains("alloc-bypass") }

  /// The queue that it is in; nil is the one without a name.
  var queue: String? { current["attributes"]?["system"]?["queue"]?.stringValue }

  /// The time limit in seconds; 0 is none.
  var duration: Double { current["attributes"]?["system"]?["duration"]?.doubleValue ?? 0 }
}
