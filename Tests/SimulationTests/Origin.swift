// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// The origin instance: its job manager with the plugin in it, and job-exec as far as mirrored jobs need it.
final class Origin {
  /// What job-exec says that does not do it.
  enum Refusal { case unknown, alreadyRunning, notRunning }

  /// When the world begins, in seconds since 1970.
  static let epochTime = 1_700_000_000.0

  unowned let world: World
  private(set) var jobs: [OriginJob] = []
  private var byID: [JobID: OriginJob] = [:]
  /// Where it is, as marks have it; another one after a restart.
  var name = "host:a"
  /// Changes when it dies: what was on the way to it is lost.
  var epoch = 0
  var isUp = true
  var managerIsUp = true
  var pluginIsLoaded = true
  var followed: Set<Int> = []
  /// The jobs that were ended, and are kept in CLEANUP.
  var kept: Set<Int> = []
  /// How often the job manager was unloaded.
  var managers = 0
  /// How often the plugin was loaded.
  var loads = 0
  /// The jobs that have resources waiting in the plugin.
  var resources: Set<Int> = []
  /// The agent that the plugin talks to.
  var attached: SimAgent?
  /// The newest agent.
  private(set) var agent: SimAgent?
  /// All that there were: what they have sent may still be on the way.
  private(set) var agents: [SimAgent] = []

  init(_ world: World) { self.world = world }

  func begin() { spawn(after: 0.01) }

  func job(_ id: JobID) -> OriginJob? { byID[id] }

  /// Whether nothing can happen here by itself.
  var isQuiet: Bool {
    isUp && managerIsUp && pluginIsLoaded && attached != nil && attached?.isBusy == false
      && jobs.allSatisfy { !$0.isActive && $0.durable == $0.eventlog.count }
  }

  static func isCancellation(_ entry: EventlogEntry) -> Bool {
    entry.name == "exception" && entry.context?["userid"] != nil && entry.context?["type"] == "cancel"
  }

  // MARK: Owners

  func submit(_ plan: JobPlan) {
    guard isUp, managerIsUp, pluginIsLoaded else {
      return world.wish(at: world.now + 0.1, "owner: tries again") { [unowned self] in submit(plan) }
    }
    let index = jobs.count
    let job = OriginJob(
      index: index, id: JobID(rawValue: UInt64(index + 1) << 24), plan: plan, submitted: Self.epochTime + world.now)
    jobs.append(job)
    byID[job.id] = job
    // The events are posted when the callbacks of the plugins are through.
    follow(job, isWhole: plan.request != .handOff && plan.request != .handOffToAny)
    record(job, "submit", ["userid": 0, "urgency": .int(Int64(plan.urgency)), "flags": 0])
    if let time = plan.dependencyUntil {
      record(job, "dependency-add", ["description": "afterok=f1"])
      world.wish(at: time, "the other dependency of job \(index) is gone") { [unowned self] in satisfy(job) }
    }
    record(job, "dependency-add", ["description": "delegated"])
    record(job, "validate", nil)
    job.durable = job.eventlog.count
    for (time, wish) in plan.wishes {
      world.wish(at: world.now + time, "owner of job \(index): \(wish)") { [unowned self] in fulfil(wish, job) }
    }
  }

  func satisfy(_ job: OriginJob) {
    guard managerIsUp else {
      return world.wish(at: world.now + 0.1, "once more") { [unowned self] in satisfy(job) }
    }
    if job.dependencies.contains("afterok=f1") { post(job, "dependency-remove", ["description": "afterok=f1"]) }
  }

  func fulfil(_ wish: JobPlan.Wish, _ job: OriginJob) {
    guard managerIsUp else {
      return world.wish(at: world.now + 0.1, "once more: \(wish)") { [unowned self] in fulfil(wish, job) }
    }
    switch wish {
    case .cancel: cancel(job)
    case .urgency(let urgency): if !job.hasResources { setUrgency(job, urgency) }
    case .limit(let seconds): post(job, "jobspec-update", ["attributes.system.duration": .double(seconds)])
    case .signal(let number):
      if let agent { agent.told("") { agent.feed(job.index, .signal(number)) } }
    }
  }

  func setUrgency(_ job: OriginJob, _ urgency: Int) {
    post(job, "urgency", ["userid": 0, "urgency": .int(Int64(urgency))])
  }

  func cancel(_ job: OriginJob) {
    guard managerIsUp, job.isActive else { return }
    job.isCancelled = true
    job.cancelled = world.now
    raise(job, "cancel", 0, "")
  }

  // MARK: Events

  /// - Returns: false when the job is inactive.
  @discardableResult func post(_ job: OriginJob, _ name: String, _ context: JSONObject?) -> Bool {
    guard job.isActive else { return false }
    record(job, name, context)
    return true
  }

  /// Events that bring on others are processed one after the other.
  func record(_ job: OriginJob, _ name: String, _ context: JSONObject?) {
    job.queue.append(EventlogEntry(timestamp: Self.epochTime + world.now, name: name, context: context))
    guard !job.isBeingPosted else { return }
    job.isBeingPosted = true
    while !job.queue.isEmpty {
      let entry = job.queue.removeFirst()
      guard job.isActive else { continue }
      world.say("job \(job.index): \(entry.name) \(entry.context.map { JSON.object($0).text } ?? "")")
      if let mistake = job.append(entry) { world.fail("job \(job.index): \(mistake)") }
      if entry.name == "exception" { keep(job, entry) }
      tell(job, entry)
      act(job, entry.name)
    }
    job.isBeingPosted = false
    commit(job)
  }

  /// What was written is durable a moment later, with all that was written meanwhile.
  private func commit(_ job: OriginJob) {
    guard !job.isCommitPlanned else { return }
    job.isCommitPlanned = true
    let mine = epoch
    world.after(world.random.between(0.01, 0.01 + world.faults.durability), "") { [self] in
      guard epoch == mine else { return }
      job.isCommitPlanned = false
      job.durable = job.eventlog.count
    }
  }

  func act(_ job: OriginJob, _ name: String) {
    switch job.state {
    case .depend:
      if job.dependencies.isEmpty, !job.queue.contains(where: { $0.name == "depend" }) { record(job, "depend", nil) }
    case .priority: record(job, "priority", ["priority": 16])
    case .sched: if name == "priority" { sched(job) }
    case .run: if job.execution == .none { request(job) }
    case .cleanup: clean(job)
    case .inactive:
      if job.isCancelled, attached?.isAlive != true { job.isOrphaned = true }
      kept.remove(job.index)
      if followed.remove(job.index) != nil, let attached {
        attached.told("agent \(attached.number): job \(job.index) is gone") { attached.feed(job.index, .gone) }
      }
    case .new: break
    }
  }

  private func clean(_ job: OriginJob) {
    switch job.execution {
    case .requested, .ready, .started: return
    case .none, .ended: break
    }
    if job.epilogs > 0 || job.queue.contains(where: { $0.name == "epilog-start" }) { return }
    let name = job.hasResources ? "free" : "clean"
    if !job.queue.contains(where: { $0.name == name }) { record(job, name, nil) }
  }

  /// As `job-manager.raise`: job-exec is told as well.
  @discardableResult func raise(_ job: OriginJob, _ type: String, _ severity: Int, _ note: String)
    -> Bool
  {
    guard job.isActive else { return false }
    let context: JSONObject = [
      "type": .string(type), "severity": .int(Int64(severity)), "note": .string(note), "userid": 0,
    ]
    record(job, "exception", context)
    guard severity == 0, job.isActive else { return true }
    later(job, world.delay(), "job-exec ends job \(job.index)") { [self] in
      switch job.execution {
      case .none, .ended: return
      case .started:
        job.isKilled = true
        job.execution = .ended
        if job.status == nil { record(job, "finish", ["status": 15]) }
      case .requested, .ready: job.execution = .ended
      }
      clean(job)
    }
    return true
  }

  // MARK: A job is cancelled

  /// The plugin keeps a job that somebody has ended in CLEANUP, until the agent says that no copy is left.
  private func keep(_ job: OriginJob, _ entry: EventlogEntry) {
    guard followed.contains(job.index), entry.context?["severity"] == 0, entry.context?["userid"] != nil,
      let type = entry.context?["type"]?.stringValue, !DelegationRequest.endings.contains(type),
      kept.insert(job.index).inserted
    else { return }
    record(job, "epilog-start", ["description": .string(DelegationRequest.epilogDescription)])
    if attached == nil { startPatience() }
  }

  /// The agent has nothing more to do for a job that was ended.
  func release(_ job: OriginJob) {
    guard managerIsUp, pluginIsLoaded, kept.remove(job.index) != nil else { return }
    record(job, "epilog-finish", ["description": .string(DelegationRequest.epilogDescription)])
  }

  private func startPatience() {
    let mine = (epoch, loads)
    world.after(60, "the plugin loses its patience") { [self] in
      guard mine == (epoch, loads), attached == nil else { return }
      for index in kept.sorted() { release(jobs[index]) }
    }
  }

  // MARK: job-exec

  private func later(
    _ job: OriginJob, _ delay: Double, _ label: @autoclosure () -> String, _ work: @escaping () -> Void
  ) {
    let mine = epoch
    world.after(delay, label()) { [self] in if epoch == mine, job.isActive { whenUp(mine, work) } }
  }

  /// What is sent to a job manager that is being loaded is kept for it.
  private func whenUp(_ mine: Int, _ work: @escaping () -> Void) {
    if managerIsUp { return work() }
    world.after(0.05, "") { [self] in if epoch == mine { whenUp(mine, work) } }
  }

  private func request(_ job: OriginJob) {
    job.execution = .requested
    later(job, world.random.chance(0.1) ? 0.1 : world.delay(), "job-exec has job \(job.index)") {
      if job.execution == .requested { job.execution = .ready }
    }
  }

  func override(_ job: OriginJob, _ status: WaitStatus?) -> Refusal? {
    guard let status else {
      switch job.execution {
      case .none, .requested, .ended: return .unknown
      case .started: return world.faults.holes.contains(.startIsNotPassedOn) ? .alreadyRunning : nil
      case .ready: break
      }
      job.execution = .started
      // Slow enough for a successor to come in between, now and then.
      later(job, world.random.chance(0.02) ? 0.5 : world.delay(), "job-exec starts job \(job.index)") { [self] in
        if !job.hasStarted, job.isActive { post(job, "start", nil) }
      }
      return nil
    }
    guard job.execution == .started else { return job.execution == .ended ? .unknown : .notRunning }
    judge(job, status)
    job.execution = .ended
    later(job, world.delay(), "job-exec finishes job \(job.index)") { [self] in
      if !job.hasStarted { record(job, "start", nil) }
      record(job, "finish", ["status": .int(Int64(status.rawValue))])
      clean(job)
    }
    return nil
  }

  /// The end that the origin is told is that of the remote job.
  private func judge(_ job: OriginJob, _ status: WaitStatus) {
    guard let copy = job.copies.first(where: { $0.id == job.recorded }) else {
      return world.fail("job \(job.index): ends with \(status), and has no remote job")
    }
    if copy.isActive, copy.state != .ending { world.fail("job \(job.index): ends before its remote job does") }
    if let type = copy.exception,
      !job.eventlog.contains(where: { $0.name == "exception" && $0.context?["type"] == .string(type) })
    {
      world.fail("job \(job.index): ends without the exception of its remote job")
    }
    let real = copy.status ?? WaitStatus(signal: 9)
    if status != real { world.fail("job \(job.index): ends with \(status), its remote job with \(real)") }
  }

  // MARK: The plugin

  private static let passedOn: Set<String> = [
    "validate", "dependency-add", "dependency-remove", "urgency", "jobspec-update", "exception", "alloc",
  ]

  private func tell(_ job: OriginJob, _ entry: EventlogEntry) {
    guard let attached, followed.contains(job.index), Self.passedOn.contains(entry.name) else { return }
    attached.told("") { attached.feed(job.index, .origin(entry)) }
    if !world.isHealed, world.random.chance(world.faults.duplicates) {
      attached.told("") { attached.feed(job.index, .origin(entry)) }
    }
  }

  func follow(_ job: OriginJob, isWhole: Bool) {
    guard followed.insert(job.index).inserted else { return }
    // An earlier plugin may have kept it.
    if job.state == .cleanup { kept.insert(job.index) }
    guard let attached else { return }
    let submission = isWhole ? Submission(userID: 0, urgency: job.urgency, time: job.submitted) : nil
    attached.unheard.insert(job.index)
    attached.told("") { attached.feed(job.index, .discovered(isNew: attached.isReady, submission)) }
  }

  func attach(_ agent: SimAgent) {
    guard isUp, managerIsUp, pluginIsLoaded, attached == nil else { return agent.crash() }
    attached = agent
    agent.unheard = followed
    for index in followed.sorted() { agent.told("") { agent.feed(index, .discovered(isNew: agent.isReady)) } }
    agent.told("agent \(agent.number) is ready") { agent.isReady = true }
  }

  func detached(_ agent: SimAgent) {
    if attached === agent {
      attached = nil
      if !kept.isEmpty { startPatience() }
    }
    agent.isGone = true
    spawn(after: world.random.between(0.1, 0.3))
  }

  /// The plugin has an agent started, unless there is one.
  func spawn(after delay: Double) {
    world.after(delay, "the plugin starts an agent") { [self] in
      guard isUp, managerIsUp, pluginIsLoaded, attached == nil else { return }
      let isAlone = agents.allSatisfy { !$0.isAlive && $0.isGone }
      guard isAlone || world.faults.holes.contains(.agentsOverlap) else { return spawn(after: 0.1) }
      let new = SimAgent(self, number: agents.count + 1)
      agents.append(new)
      agent = new
      new.send("agent \(new.number) attaches") { [self] in attach(new) }
    }
  }

  func allocate(_ job: OriginJob, _ started: Double?) -> String? {
    guard followed.contains(job.index) else { return "not delegated" }
    guard job.isActive else { return "takes no events" }
    if let started { post(job, "delegate::start", ["timestamp": .double(started)]) }
    post(job, "jobspec-update", ["attributes.system.exec.test.override": 1])
    resources.insert(job.index)
    post(job, "set-flags", ["flags": ["alloc-bypass"]])
    guard job.dependencies.contains("delegated") else {
      resources.remove(job.index)
      if job.state == .sched, !world.faults.holes.contains(.resourcesAreForgotten) {
        give(job)
        return nil
      }
      return "not held any more"
    }
    post(job, "dependency-remove", ["description": "delegated"])
    return nil
  }

  private func sched(_ job: OriginJob) { if resources.remove(job.index) != nil { give(job) } }

  /// The plugin's message to its own job manager.
  private func give(_ job: OriginJob) {
    let mine = epoch
    let manager = managers
    world.after(world.random.between(0.0001, 0.005), "") { [self] in
      guard epoch == mine, managers == manager, managerIsUp, !job.hasResources else { return }
      post(job, "alloc", ["bypass": true])
    }
  }
}
