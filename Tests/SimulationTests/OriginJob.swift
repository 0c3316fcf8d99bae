// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A job as its job manager holds it: its eventlog, and what follows from it (RFC 21).
final class OriginJob {
  let index: Int
  let id: JobID
  let plan: JobPlan
  let submitted: Double
  private(set) var eventlog: [EventlogEntry] = []
  /// How many of its events survive a crash of the instance.
  var durable = 0
  private(set) var state = JobState.new
  private(set) var dependencies: Set<String> = []
  private(set) var urgency = 16
  private(set) var bypassesScheduler = false
  private(set) var hasResources = false
  private(set) var hasStarted = false
  /// Which of a prolog and an epilog hold it.
  private(set) var perilogs: Set<Substring> = []
  /// The remote job on record, and that on record before it.
  private(set) var recorded: JobID?
  private(set) var selected: FluxURI?
  private(set) var attempt = 0
  private(set) var hasSucceeded = false
  private(set) var status: Int32?

  // What the checker keeps of it.

  /// Its copies, wherever they are.
  var copies: [RemoteJob] = []
  /// How often it was executed, and how many copiers of output there are now.
  var executions = 0
  var copiers = 0
  /// Whether the owner has cancelled it.
  var isCancelled = false
  /// When that was.
  var cancelled = 0.0
  /// Whether the plugin has given it an end of its own, for its target could not be asked.
  var isKilled = false
  /// Whether its target could not be asked for its output.
  var wasGivenUp = false
  /// Whether its logs have a namespace, its output is there, and its resources are in the KVS.
  var hasNamespace = false
  var hasOutput = false
  private(set) var areLogsMoved = false
  var isStored = false
  /// Whether it was cancelled when nobody could act.
  var isOrphaned = false
  /// Whether the origin has lost the id of a copy that may have been released.
  var lostItsRecord = false
  /// Whether the origin has lost a change of the urgency that the target may have heard of.
  var lostItsUrgency = false
  /// Whether the origin has lost a choice.
  var lostItsChoice = false
  /// Whether something went wrong with it that others are to blame for.
  var isExcused = false
  /// How often it has gone elsewhere, as far as anybody ever had it on record.
  private(set) var departures = 0
  /// Whether a target has lost a copy of it.
  var lostItsCopy = false
  var isBeingPosted = false
  var isCommitPlanned = false
  var queue: [EventlogEntry] = []

  init(index: Int, id: JobID, plan: JobPlan, submitted: Double) {
    self.index = index
    self.id = id
    self.plan = plan
    self.submitted = submitted
    urgency = plan.urgency
  }

  var isActive: Bool { state != .inactive }

  /// How often it may run: once, or as often more as it has gone elsewhere, if its owner wants that.
  var maximumRuns: Int { plan.request.isAtLeastOnce ? 1 + departures : 1 }

  /// GuestJob.graft
  func moveLogs() {
    guard hasNamespace else { return }
    hasNamespace = false
    areLogsMoved = true
  }

  func append(_ entry: EventlogEntry) -> String? {
    eventlog.append(entry)
    return apply(entry)
  }

  /// Takes the state that follows from what is durable.
  ///
  /// - Returns: what is lost.
  func replay(keeping count: Int) -> [EventlogEntry] {
    let lost = Array(eventlog.dropFirst(count))
    let kept = eventlog.prefix(count)
    eventlog = []
    state = .new
    dependencies = []
    bypassesScheduler = false
    hasResources = false
    hasStarted = false
    perilogs = []
    recorded = nil
    selected = nil
    attempt = 0
    hasSucceeded = false
    status = nil
    queue = []
    isCancelled = false
    for entry in kept {
      _ = append(entry)
      if Origin.isCancellation(entry) { isCancelled = true }
    }
    durable = kept.count
    return lost
  }

  /// - Returns: what is wrong with the event where it stands.
  private func apply(_ entry: EventlogEntry) -> String? {
    let context = entry.context
    if state == .inactive { return "\(entry.name) after the job's end" }
    switch entry.name {
    case "submit": urgency = Int(context?["urgency"]?.intValue ?? 16)
    case "urgency":
      urgency = Int(context?["urgency"]?.intValue ?? 16)
      if state == .sched { state = .priority }
    case "validate": state = .depend
    case "dependency-add": dependencies.insert(context?["description"]?.stringValue ?? "")
    case "dependency-remove": dependencies.remove(context?["description"]?.stringValue ?? "")
    case "depend":
      guard state == .depend else { return "depend in \(state)" }
      if !bypassesScheduler { return "the job leaves DEPEND for the local scheduler" }
      state = .priority
    case "priority":
      guard state == .priority else { return "priority in \(state)" }
      state = .sched
    case "set-flags": bypassesScheduler = true
    case "flux-restart": if state == .sched { state = .priority }
    case "alloc":
      if hasResources { return "a second alloc" }
      guard state == .sched || state == .cleanup else { return "alloc in \(state)" }
      hasResources = true
      if state == .sched { state = .run }
      if state == .run, perilogs.isEmpty { return "the job runs at home" }
    case "start":
      if hasStarted { return "a second start" }
      hasStarted = true
      guard hasResources else { return "a start without resources" }
    case "finish":
      if status != nil { return "a second finish" }
      status = Int32(context?["status"]?.intValue ?? 0)
      if state == .run { state = .cleanup }
    case "prolog-start", "epilog-start":
      if !perilogs.insert(entry.name.prefix(6)).inserted { return "a second \(entry.name)" }
    case "prolog-finish", "epilog-finish":
      if perilogs.remove(entry.name.prefix(6)) == nil { return "\(entry.name) without a start" }
      if state == .run { return "the job runs at home" }
    case "free": hasResources = false
    case "clean":
      guard state == .cleanup, !hasResources, perilogs.isEmpty else { return "clean in \(state)" }
      state = .inactive
    case "exception":
      if context?["type"] == "DelegationSuccess" {
        if recorded == nil { return "success without a remote job on record" }
        // One that is held here is handed over without a release.
        if urgency > 0, copies.contains(where: { $0.id == recorded && $0.wasLostBeforeItsRelease }) {
          return "success of a copy that was lost"
        }
        hasSucceeded = true
      }
      if context?["severity"] == 0 { state = .cleanup }
    default: return applyOwn(entry)
    }
    return nil
  }

  /// Our own events, in their order.
  private func applyOwn(_ entry: EventlogEntry) -> String? {
    switch entry.name {
    case "delegate::select":
      if selected != nil, !lostItsChoice { return "a choice after a choice" }
      let number = Int(entry.context?["attempt"]?.intValue ?? 0)
      // What the origin has lost, a copy may have told.
      guard number == attempt + 1 || (lostItsChoice && number >= attempt) else {
        return "attempt \(number) after \(attempt)"
      }
      attempt = number
      selected = (entry.context?["uri"]?.stringValue).flatMap { try? FluxURI(parsing: $0) }
    case "delegate::submit", "delegated":
      if recorded != nil { return "two remote jobs on record" }
      if entry.name == "delegate::submit", selected == nil, plan.request != .mirrorURI {
        return "a remote job without a choice"
      }
      recorded = JobID(entry.context?["jobid"])
    case "delegate::exception":
      if selected == nil { return "a failed attempt without a choice" }
      selected = nil
      recorded = nil
      departures += 1
    case "delegate::start":
      if recorded == nil { return "a start without a remote job" }
    default: break
    }
    return nil
  }
}
