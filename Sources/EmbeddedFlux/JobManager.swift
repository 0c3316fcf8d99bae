// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import Logging

/// The job manager: every job's events and what follows from them (RFC 21), on virtual nodes.
///
/// Events are posted; each is processed to its end, with the plugins' callbacks, before the next one of the same job, as in Flux.
final class JobManager {
  /// The most active jobs; a submission beyond it is refused.
  static let maximumActive = 1 << 20
  /// The most dependencies of a job: each is looked at with all others. Flux has no such limit.
  static let maximumDependencies = 256
  /// The most inactive jobs that are kept; the oldest are forgotten.
  static let maximumInactive = 100_000

  unowned let broker: Broker
  let log: LogService
  /// Who starts next, and what is free.
  var scheduler: Scheduler
  let plugins: PluginHost
  private(set) var jobs: [JobID: Job] = [:]
  /// Those that are not at their end.
  private(set) var active: [JobID: Job] = [:]
  /// Inactive jobs in the order of their ends, the oldest first.
  private(set) var inactive: [JobID] = []
  /// How the inactive jobs have ended.
  private(set) var results: [JobResult: Int] = [:]
  /// All jobs in order of submission, the newest last.
  private(set) var order: [JobID] = []
  /// The queues; see ``queuesChanged()``.
  var queues = Queues()
  /// Values that clients keep in the KVS.
  var values: JSONObject = [:]
  /// Jobs that have ended, and have a namespace still or again, in the order of that.
  var reopened: [JobID] = []
  /// Who waits for a job, by the id of that job; see ``awaitNothing(_:)``.
  var dependants: [JobID: [JobID: Job]] = [:]
  /// Waitable jobs that somebody has waited for.
  var isWaited: Set<JobID> = []
  /// Whether the scheduler is about to be asked who starts.
  var isPassDue = false
  /// The job that has a reservation; see ``estimate(_:)``.
  var reserved: JobID?
  private var generatorTime: UInt64 = 0
  private var generatorSequence: UInt16 = 0
  private var startTime: Double
  private(set) var isStopping = false
  /// The nodes that get no more jobs; see ``setDrained(_:)``.
  var drained = DrainedNodes()
  /// How many inactive jobs were purged by request.
  private(set) var purged = 0
  /// The jobs that wait for others of their name.
  var singletons = SingletonJobs()
  /// What runs jobs.
  var executor: JobExecutor?
  /// Where jobs are kept beside memory.
  var store: StateStore?
  /// Tell others of events: the journal, watchers of eventlogs, listings.
  var observers: [(Job, EventlogEntry) -> Void] = []
  /// Told when a guest log has grown: job, log name, line; a nil line is the log's end.
  var guestObservers: [(Job, GuestLog, String?) -> Void] = []
  /// Told of events that are in no eventlog.
  var volatileObservers: [(Job, EventlogEntry) -> Void] = []

  /// The logs of a job's own namespace.
  enum GuestLog: String, CaseIterable {
    case exec = "guest.exec.eventlog"
    case output = "guest.output"
    case input = "guest.input"

    var place: StateBatch.Log {
      switch self {
      case .exec: .execution
      case .output: .output
      case .input: .input
      }
    }
  }

  init(_ broker: Broker, _ log: LogService, _ cluster: VirtualCluster, _ surroundings: any Surroundings) {
    self.broker = broker
    self.log = log
    scheduler = Scheduler(cluster)
    startTime = broker.now()
    plugins = PluginHost(broker, log, surroundings)
    plugins.manager = self
  }

  // MARK: Ids and lookup

  func newID() -> JobID {
    let time = UInt64(max(0, (broker.now() - startTime) * 1000))
    if time > generatorTime {
      generatorTime = time
      generatorSequence = 0
    } else if generatorSequence == 1023 {
      generatorTime += 1
      generatorSequence = 0
    } else {
      generatorSequence += 1
    }
    return JobID(milliseconds: generatorTime, generator: 0, sequence: generatorSequence)
  }

  /// Ids go on after the newest that was given, counted from the same moment.
  func continueIDs(since epoch: Double, after newest: JobID?) {
    startTime = epoch
    guard let newest else { return }
    generatorTime = newest.rawValue >> 24
    generatorSequence = 1023
  }

  /// The job, or the error that Flux answers with.
  func job(_ id: JobID, unknown: ServiceError = ServiceError(.noEntry, "unknown job id")) throws(ServiceError) -> Job {
    guard let job = jobs[id] else { throw unknown }
    return job
  }

  var activeCount: Int { active.count }
  var cluster: VirtualCluster { scheduler.cluster }

  /// Sends a signal to a job's processes, here or, by a plugin, elsewhere.
  func kill(_ job: Job, signal: Int) {
    executor?.kill(job, signal: CInt(signal))
    broker.publish("shell-\(job.id.encoded(.dec)).kill", ["signum": .int(Int64(signal))])
  }

  // MARK: Nodes

  /// The nodes that get no jobs.
  var down: ResourceSet { ResourceSet(ranks: cluster.all.ranks.filter { drained.entries[$0.rank] != nil }) }

  /// Other nodes than before get jobs.
  func setDrained(_ nodes: DrainedNodes) {
    drained = nodes
    scheduler.setDown(nodes.ranks)
    keepDrained()
    schedule()
  }

  // MARK: The configuration

  /// Why a configuration cannot be taken over.
  func objection(to configuration: JSON) -> String? {
    var next = queues
    do throws(ServiceError) { try next.configure(configuration) } catch {
      return "error updating job-manager: \(error.text ?? "")"
    }
    return plugins.objection(to: configuration)
  }

  /// Takes a configuration over that nobody objects to.
  func configure(_ configuration: JSON) {
    try? queues.configure(configuration)
    queuesChanged()
  }

  // MARK: A new job

  /// Takes a job that ingest has checked. What a plugin rejects leaves nothing behind.
  func add(_ job: Job) throws(ServiceError) {
    guard activeCount < Self.maximumActive else { throw ServiceError(.busy, "too many active jobs") }
    try queues.checkSubmission(to: job.queue)
    let dependencies = job.jobspec.dependencies
    guard dependencies.count <= Self.maximumDependencies else {
      throw ServiceError(.invalid, "a job may have \(Self.maximumDependencies) dependencies, not \(dependencies.count)")
    }
    jobs[job.id] = job
    active[job.id] = job
    // Held back until the job is accepted: a rejected job has no events.
    job.isProcessing = true
    job.pending.append(
      event(
        "submit",
        [
          "userid": .int(Int64(job.userID)), "urgency": .int(Int64(job.urgency)),
          "flags": .int(Int64(job.flags)), "version": 1,
        ]))
    do throws(ServiceError) {
      try plugins.check("job.create", job)
      try plugins.check("job.validate", job)
      for dependency in dependencies { try add(dependency, to: job) }
    } catch {
      job.pending.removeAll()
      forget(job)
      throw error
    }
    plugins.notify("job.new", job)
    order.append(job.id)
    keep(job)
    enter(singleton: job)
    job.isProcessing = false
    drain(job)
    post(job, "validate")
  }

  private func forget(_ job: Job) {
    jobs[job.id] = nil
    active[job.id] = nil
    awaitNothing(job)
    plugins.notify("job.destroy", job)
    plugins.freeData(of: job)
  }

  /// Takes a job over that is there already, as the state directory has it.
  func adopt(_ job: Job) {
    jobs[job.id] = job
    order.append(job.id)
    guard job.isActive else { return count(job) }
    active[job.id] = job
    if let name = job.givenName { singletons.add(name) }
  }

  private func count(_ job: Job) {
    inactive.append(job.id)
    if let result = job.result { results[result, default: 0] += 1 }
  }

  /// Puts the jobs that have ended in the order of their ends.
  func sortInactive() {
    let ends = inactive.map { (jobs[$0]?.times[.inactive] ?? 0, $0) }
    inactive = ends.sorted { $0 < $1 }.map(\.1)
  }

  // MARK: Events

  func event(_ name: String, _ context: JSONObject? = nil) -> EventlogEntry {
    EventlogEntry(timestamp: broker.now(), name: name, context: context)
  }

  /// Adds an event to a job's eventlog, after those that are being processed.
  func post(_ job: Job, _ name: String, _ context: JSONObject? = nil) {
    guard job.isActive else { return }
    job.pending.append(event(name, context))
    drain(job)
  }

  /// Takes a memo that is kept with the job, but not in its eventlog.
  func note(_ job: Job, memo: JSONObject) {
    job.note(memo: memo)
    let entry = event("memo", memo)
    for observer in volatileObservers { observer(job, entry) }
  }

  private func drain(_ job: Job) {
    guard !job.isProcessing else { return }
    job.isProcessing = true
    defer { job.isProcessing = false }
    while !job.pending.isEmpty { process(job, job.pending.removeFirst()) }
  }

  private func process(_ job: Job, _ entry: EventlogEntry) {
    let before = job.apply(entry)
    keep(job, entry)
    plugins.event(job, entry)
    for observer in observers { observer(job, entry) }
    if let before { enter(job, from: before, entry) }
    react(job, entry)
  }

  /// What an event calls for beside its state.
  private func react(_ job: Job, _ entry: EventlogEntry) {
    switch entry.name {
    case "dependency-remove" where job.state == .depend && job.dependencies.isEmpty: post(job, "depend")
    case "exception":
      broker.publish(
        "job-exception",
        ["id": job.id.json, "type": entry.context?["type"] ?? "", "severity": entry.context?["severity"] ?? 0])
    // An exception had ended the job before its processes ended: this event changes no state, but its resources are free now.
    case "finish" where job.state == .cleanup && job.isExecuted: release(job)
    case "free" where job.state == .cleanup: clean(job)
    case "epilog-finish" where job.state == .cleanup, "prolog-finish" where job.state == .cleanup: letGo(job)
    case "prolog-finish" where job.state == .run: execute(job)
    case "start": resolveDependants(of: job)
    case "resource-update":
      executor?.limit(job)
      scheduler.limit(job.id, until: job.resources?.expiration ?? 0)
      schedule()
    default: break
    }
  }

  private func enter(_ job: Job, from before: JobState, _ entry: EventlogEntry) {
    plugins.state(job, from: before, entry)
    switch job.state {
    case .new: break
    case .depend: if job.dependencies.isEmpty { post(job, "depend") }
    case .priority: post(job, "priority", ["priority": .int(Int64(job.urgency))])
    case .sched: enqueue(job)
    case .run: execute(job)
    case .cleanup: cleanUp(job)
    case .inactive: retire(job)
    }
    if before == .sched, job.state != .sched { withdraw(job) }
    if job.state == .inactive { resolveDependants(of: job) }
  }

  /// Runs a job that no prolog holds.
  func execute(_ job: Job) {
    guard !job.isHeld, !job.isExecuted else { return }
    job.isExecuted = true
    if job.isDebugged { post(job, "debug.start-request") }
    executor?.start(job)
  }

  private func cleanUp(_ job: Job) {
    guard job.resources != nil, job.isExecuted else { return letGo(job) }
    if job.waitStatus == nil { executor?.terminate(job) } else { release(job) }
  }

  /// The job's processes have all ended.
  func finished(_ job: Job, _ status: WaitStatus) {
    // One end is on record, or on its way there.
    let hasEnd = job.waitStatus != nil || job.pending.contains { $0.name == "finish" }
    // It was ended by an event before its processes were.
    if !job.isActive { giveBackRest(of: job) }
    if !hasEnd { post(job, "finish", ["status": .int(Int64(status.rawValue))]) }
  }

  func release(_ job: Job) {
    guard job.resources != nil, !job.isReleased else { return }
    giveBack(job)
    post(job, "release", ["ranks": "all", "final": true])
    free(job)
  }

  private func giveBack(_ job: Job) {
    job.isReleased = true
    scheduler.release(job.id)
    schedule()
  }

  /// A job is at its end that has not given back what it has: an event that somebody has posted says so. What its processes still use is
  /// given back when they have ended.
  private func giveBackRest(of job: Job) {
    guard job.hasAllocation, !job.isReleased, executor?.runs(job) != true else { return }
    giveBack(job)
  }

  /// Nothing runs for the job, or not any more.
  func letGo(_ job: Job) {
    guard job.resources != nil else { return clean(job) }
    if !job.isExecuted, !job.isReleased, !job.isHeld { giveBack(job) }
    free(job)
  }

  /// After its processes' end, and after the prologs and epilogs of plugins.
  func free(_ job: Job) {
    if job.isReleased, !job.isHeld { post(job, "free") }
  }

  func clean(_ job: Job) {
    if !job.isHeld { post(job, "clean") }
  }

  private func retire(_ job: Job) {
    count(job)
    active[job.id] = nil
    awaitNothing(job)
    giveBackRest(of: job)
    leave(singleton: job)
    keepEnded(job)
    plugins.notify("job.inactive-add", job)
    plugins.notify("job.destroy", job)
    plugins.freeData(of: job)
    if inactive.count > Self.maximumInactive + Self.maximumInactive / 10 {
      let oldest = inactive.prefix(Self.maximumInactive / 10)
      inactive.removeFirst(oldest.count)
      forget(inactive: Array(oldest))
    }
  }

  /// Nothing is known any more of these inactive jobs.
  private func forget(inactive ids: [JobID]) {
    keepForgotten(ids)
    for id in ids {
      isWaited.remove(id)
      if let result = jobs.removeValue(forKey: id)?.result { results[result, default: 1] -= 1 }
    }
    order.removeAll { jobs[$0] == nil }
  }

  /// Forgets inactive jobs because somebody wants it.
  func purge(_ ids: [JobID]) {
    guard !ids.isEmpty else { return }
    let gone = Set(ids)
    inactive.removeAll(where: gone.contains)
    forget(inactive: ids)
    purged += ids.count
    broker.publish("job-purge-inactive", ["jobs": .array(ids.map(\.json))])
  }

  // MARK: Exceptions

  /// Raises an exception as `flux job raise` does.
  ///
  /// - Parameter waitStatus: what the job shall be said to have ended with.
  func raise(
    _ job: Job, type: String, severity: Int, note: String, userID: UInt32? = nil, waitStatus: WaitStatus? = nil
  ) {
    var context: JSONObject = ["type": .string(type), "severity": .int(Int64(severity))]
    let user = userID.map { JSON.int(Int64($0)) }
    // Flux's executor writes the members of a timeout in another order than its job manager those of the rest.
    if type == "timeout" { context["userid"] = user }
    context["note"] = .string(note)
    context["userid"] = user
    if let waitStatus, waitStatus.rawValue >= 0 { context["wait_status"] = .int(Int64(waitStatus.rawValue)) }
    let isFirst = !job.wasRaised
    if severity == 0 {
      job.wasRaised = true
      if isFirst { job.raisedStatus = waitStatus }
    }
    post(job, "exception", context)
    // One that comes while the job is being ended already asks its processes once more.
    if severity == 0, !isFirst { executor?.kill(job, signal: SIGTERM) }
  }

  // MARK: The end

  /// The instance stops: no more jobs start, and those that it runs are ended.
  func beginStop() {
    isStopping = true
    stop { $0.isExecuted }
  }

  /// Whether there are jobs that are ended only by ``stop()``.
  var hasOthersToStop: Bool { store == nil && active.values.contains { !$0.isExecuted } }

  /// All others are ended as well. What is kept on disk, and is not run by this instance, is there when it starts again.
  func stop() { stop { store == nil || $0.isExecuted } }

  private func stop(where isMeant: (Job) -> Bool) {
    for job in active.values.sorted(by: { $0.id < $1.id }) where isMeant(job) && !job.wasRaised {
      raise(job, type: "cancel", severity: 0, note: "the instance is shutting down", userID: broker.owner)
    }
  }

  /// Whether no job runs, or is being cleaned up after: what `flux queue idle` waits for when a Flux is shut down.
  var isQuiet: Bool { !active.values.contains { $0.state == .run || $0.state == .cleanup } }
}
