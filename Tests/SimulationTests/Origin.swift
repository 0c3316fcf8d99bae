// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// The origin instance: its job manager with the plugin in it, and its KVS as far as mirrored jobs need it.
final class Origin {
  /// When the world begins, in seconds since 1970.
  static let epochTime = 1_700_000_000.0

  unowned let world: World
  private(set) var jobs: [OriginJob] = []
  private var byID: [JobID: OriginJob] = [:]
  /// Where it is, as marks have it; another one after a restart.
  var name = "host:a"
  /// When it was started last.
  var started = epochTime
  /// Changes when it dies: what was on the way to it is lost.
  var epoch = 0
  var isUp = true
  var managerIsUp = true
  var pluginIsLoaded = true
  var followed: Set<Int> = []
  /// What the plugin knows of its jobs.
  var standing: [Int: Standing] = [:]
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
    case .run: if name == "alloc" { run(job) }
    case .cleanup: clean(job)
    case .inactive:
      if job.isCancelled, attached?.isAlive != true { job.isOrphaned = true }
      standing[job.index] = nil
      judgeRecord(job)
      if followed.remove(job.index) != nil, let attached {
        attached.told("agent \(attached.number): job \(job.index) is gone") { attached.feed(job.index, .gone) }
      }
    case .new: break
    }
  }

  private func clean(_ job: OriginJob) {
    if !job.perilogs.isEmpty || job.queue.contains(where: { $0.name == "epilog-start" }) { return }
    let name = job.hasResources ? "free" : "clean"
    if !job.queue.contains(where: { $0.name == name }) { record(job, name, nil) }
  }

  /// As `job-manager.raise`.
  @discardableResult func raise(_ job: OriginJob, _ type: String, _ severity: Int, _ note: String)
    -> Bool
  {
    guard job.isActive else { return false }
    let context: JSONObject = [
      "type": .string(type), "severity": .int(Int64(severity)), "note": .string(note), "userid": 0,
    ]
    record(job, "exception", context)
    return true
  }

  // MARK: A job is ended

  /// The plugin keeps a job that somebody has ended in CLEANUP, until the agent says that no copy is left.
  private func keep(_ job: OriginJob, _ entry: EventlogEntry) {
    guard followed.contains(job.index), entry.context?["severity"] == 0 else { return }
    let before = standing[job.index] ?? []
    standing[job.index, default: []].insert(.ended)
    if before.isDisjoint(with: [.epilog, .prolog, .released, .ended]), entry.context?["userid"] != nil,
      let type = entry.context?["type"]?.stringValue, !DelegationRequest.endings.contains(type)
    {
      record(job, "epilog-start", ["description": .string(DelegationRequest.epilogDescription)])
      standing[job.index, default: []].insert(.epilog)
    }
    if attached == nil, standing[job.index]?.isKept == true { startPatience() }
  }

  /// The agent has nothing more to do for a job that has finished or was ended.
  func release(_ job: OriginJob, _ holds: DelegatedJob.Holds, _ status: WaitStatus?) -> String? {
    guard managerIsUp, pluginIsLoaded, followed.contains(job.index), job.isActive else { return "not delegated" }
    guard standing[job.index]?.contains(.released) != true else { return "released already" }
    if holds.prolog { standing[job.index, default: []].insert(.prolog) }
    if holds.epilog { standing[job.index, default: []].insert(.epilog) }
    if let status { end(job, status) }
    letGo(job)
    return nil
  }

  private func end(_ job: OriginJob, _ status: WaitStatus) {
    guard standing[job.index]?.contains(.finished) != true else { return }
    job.isKilled = true
    standing[job.index, default: []].insert(.finished)
    post(job, "finish", ["status": .int(Int64(status.rawValue))])
  }

  private func letGo(_ job: OriginJob) {
    guard let held = standing[job.index], !held.isDisjoint(with: [.prolog, .epilog]) else { return }
    standing[job.index]?.insert(.released)
    if held.contains(.epilog) {
      post(job, "epilog-finish", ["description": .string(DelegationRequest.epilogDescription)])
    }
    guard held.contains(.prolog) else { return }
    post(job, "release", ["ranks": "all", "final": true])
    post(job, "prolog-finish", ["description": .string(DelegationRequest.prologDescription)])
  }

  private func startPatience() {
    let mine = (epoch, loads)
    world.after(60, "the plugin loses its patience") { [self] in
      guard mine == (epoch, loads), attached == nil else { return }
      for index in standing.filter(\.value.isKept).keys.sorted() {
        if standing[index]?.contains(.prolog) == true { end(jobs[index], WaitStatus(signal: 15)) }
        letGo(jobs[index])
      }
    }
  }

  func finish(_ job: OriginJob, _ status: WaitStatus) -> String? {
    guard followed.contains(job.index), job.isActive else { return "not delegated" }
    guard standing[job.index]?.contains(.finished) != true else { return nil }
    standing[job.index, default: []].insert(.finished)
    if job.status == nil { judge(job, status) }
    post(job, "finish", ["status": .int(Int64(status.rawValue))])
    return nil
  }

  /// What stays of a job.
  private func judgeRecord(_ job: OriginJob) {
    if job.hasStarted, job.hasNamespace { world.fail("job \(job.index): its logs are not where they stay") }
    guard job.hasStarted, !job.isKilled, !job.wasGivenUp else { return }
    if job.status == nil { world.fail("job \(job.index): has started, and has no end") }
    // Where it went last it may never have begun: then there is no output.
    let lastRun = job.copies.last { $0.id == job.recorded }
    if job.plan.request.isAtLeastOnce, lastRun?.hasStarted != true { return }
    if !job.hasOutput { world.fail("job \(job.index): its output is not whole") }
    if !job.isStored { world.fail("job \(job.index): its resources are not on record") }
  }

  /// The end that the origin is told is that of the remote job.
  private func judge(_ job: OriginJob, _ status: WaitStatus) {
    guard let copy = job.copies.first(where: { $0.id == job.recorded }) else {
      return world.fail("job \(job.index): ends with \(status), and has no remote job")
    }
    if copy.isActive, copy.state != .ending { world.fail("job \(job.index): ends before its remote job does") }
    if copy.exception != nil,
      !job.eventlog.contains(where: { $0.name == "exception" && $0.context?["severity"] == 0 })
    {
      world.fail("job \(job.index): ends without the exception of its remote job")
    }
    let real = copy.status ?? WaitStatus(signal: 9)
    if status != real { world.fail("job \(job.index): ends with \(status), its remote job with \(real)") }
  }

  // MARK: The plugin

  private static let passedOn: Set<String> = [
    "validate", "dependency-add", "dependency-remove", "urgency", "jobspec-update", "exception", "start",
  ]

  private func tell(_ job: OriginJob, _ entry: EventlogEntry) {
    guard let attached, followed.contains(job.index), Self.passedOn.contains(entry.name) else { return }
    guard entry.context?["description"]?.stringValue != DelegationRequest.dependencyDescription else { return }
    attached.told("") { attached.feed(job.index, .origin(entry)) }
    if !world.isHealed, world.random.chance(world.faults.duplicates) {
      attached.told("") { attached.feed(job.index, .origin(entry)) }
    }
  }

  func follow(_ job: OriginJob, isWhole: Bool) {
    guard followed.insert(job.index).inserted else { return }
    standing[job.index] = job.state == .cleanup ? .ended : []
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
    agent.told("agent \(agent.number) is ready") { agent.begin() }
  }

  func detached(_ agent: SimAgent) {
    if attached === agent {
      attached = nil
      if standing.values.contains(where: \.isKept) { startPatience() }
    }
    agent.isGone = true
    spawn(after: world.random.between(0.1, 0.3))
  }

  /// The plugin has an agent started, unless there is one.
  func spawn(after delay: Double) {
    world.after(delay, "the plugin starts an agent") { [self] in
      guard isUp, managerIsUp, pluginIsLoaded, attached == nil else { return }
      // Agent.becomeTheOnlyOne
      guard agents.allSatisfy({ !$0.isAlive && $0.isGone }) else { return spawn(after: 0.1) }
      let new = SimAgent(self, number: agents.count + 1)
      agents.append(new)
      agent = new
      new.send("agent \(new.number) attaches") { [self] in attach(new) }
    }
  }

  func allocate(_ job: OriginJob, _ started: Double?, _ isHeld: Bool) -> String? {
    guard followed.contains(job.index) else { return "not delegated" }
    guard job.isActive, let held = standing[job.index], held.isDisjoint(with: [.ended, .released]) else {
      return "takes no events"
    }
    if let started { post(job, "delegate::start", ["timestamp": .double(started)]) }
    if !held.contains(.prolog), !isHeld {
      post(job, "prolog-start", ["description": .string(DelegationRequest.prologDescription)])
    }
    standing[job.index]?.insert(.prolog)
    resources.insert(job.index)
    post(job, "set-flags", ["flags": ["alloc-bypass"]])
    if job.dependencies.contains("delegated") {
      post(job, "dependency-remove", ["description": "delegated"])
    } else {
      post(job, "flux-restart", nil)
    }
    return nil
  }

  private func sched(_ job: OriginJob) {
    guard resources.remove(job.index) != nil else { return }
    standing[job.index, default: []].insert(.granted)
    give(job)
  }

  private func run(_ job: OriginJob) {
    guard standing[job.index]?.remove(.granted) != nil else { return }
    record(job, "start", nil)
  }

  func start(_ job: OriginJob) -> String? {
    guard followed.contains(job.index), job.isActive else { return "not delegated" }
    post(job, "start", nil)
    return nil
  }

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
