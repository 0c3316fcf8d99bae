// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// A simulated world: an origin instance, its agents, targets, owners, the network between them, and what goes wrong. One thread, virtual
/// time; one seed decides everything.
final class World {
  /// A fault that strikes at one moment.
  enum Fault: CaseIterable {
    case agentCrash, pluginReload, managerReload, originCrash, targetCrash, connectionLoss, outage, targetReload, cancel
  }

  /// What is counted over many worlds.
  struct Counts {
    var steps = 0
    var worlds = 0
    var jobs = 0
    var executions = 0
    var strays = 0
    var held = 0
    var excused = 0
    var failures = 0

    mutating func add(_ other: Counts) {
      steps += other.steps
      worlds += other.worlds
      jobs += other.jobs
      executions += other.executions
      strays += other.strays
      held += other.held
      excused += other.excused
      failures += other.failures
    }
  }

  /// When faults stop, in virtual seconds.
  static let healing = 5.0
  /// How long after that everything has to have come to an end.
  static let patience = 400.0
  /// How long after a job was cancelled a copy may still start, because its release was on the way.
  static let lastWord = 10.0
  /// More steps than any course of events can have.
  static let maximumSteps = 20_000

  var random: SplitMix64
  let faults: Faults
  private(set) var now = 0.0
  private(set) var steps = 0
  private(set) var isHealed = false
  private(set) var violation: String?
  private var queue = EventQueue()
  /// What happened, line by line; nil when nobody wants to know.
  private(set) var trace: [String]?
  private(set) var counts = Counts()
  /// Messages that are on the way to a target.
  var messagesUnderWay = 0
  /// Whether a message has reached a target after its sender had gone.
  var hadLateMessages = false
  private var wishesLeft = 0
  private var faultsLeft = 0

  private(set) var targets: [SimTarget] = []
  private(set) lazy var origin = Origin(self)
  private var faultsBySteps: [Int: [Fault]] = [:]

  init(seed: UInt64, faults: Faults, isTraced: Bool = false) {
    random = SplitMix64(seed: seed)
    self.faults = faults
    if isTraced { trace = [] }
    targets = (0..<3).map { SimTarget(self, $0) }
  }

  /// The world that a seed makes: its jobs and its faults.
  static func any(seed: UInt64, faults: Faults, isTraced: Bool = false) -> World {
    let world = World(seed: seed, faults: faults, isTraced: isTraced)
    for _ in 0...world.random.below(3) { world.add(JobPlan.any(&world.random, faults)) }
    world.planFaults()
    return world
  }

  // MARK: Planning

  func add(_ plan: JobPlan) {
    wishesLeft += 1
    after(plan.submitAt, "owner: submits a job: \(plan.request)") { [unowned self] in
      wishesLeft -= 1
      origin.submit(plan)
    }
  }

  /// A fault at the moment before a step.
  func add(_ fault: Fault, beforeStep step: Int) { faultsBySteps[step, default: []].append(fault) }

  private func planFaults() {
    let kinds: [(Int, Fault)] = [
      (faults.agentCrashes, .agentCrash), (faults.pluginReloads, .pluginReload),
      (faults.managerReloads, .managerReload), (faults.originCrashes, .originCrash),
      (faults.targetCrashes, .targetCrash), (faults.connectionLosses, .connectionLoss), (faults.outages, .outage),
      (faults.targetReloads, .targetReload),
    ]
    for (maximum, fault) in kinds where maximum > 0 {
      for _ in 0..<random.below(maximum + 1) {
        // By steps the narrow windows are hit, by time the wide ones.
        if random.chance(0.6) {
          add(fault, beforeStep: 5 + random.below(150))
        } else {
          faultsLeft += 1
          after(random.between(0, 4), "fault: \(fault)") { [unowned self] in
            faultsLeft -= 1
            strike(fault)
          }
        }
      }
    }
  }

  func after(_ delay: Double, _ label: @autoclosure () -> String, _ work: @escaping () -> Void) {
    at(now + delay, label(), work)
  }

  func at(_ time: Double, _ label: @autoclosure () -> String, _ work: @escaping () -> Void) {
    queue.add(at: time, trace == nil ? "" : label(), work)
  }

  /// A wish of an owner, which is carried out however long it takes.
  func wish(at time: Double, _ label: @autoclosure () -> String, _ work: @escaping () -> Void) {
    wishesLeft += 1
    at(time, label()) { [unowned self] in
      wishesLeft -= 1
      work()
    }
  }

  /// How long a message takes that nothing holds up.
  func delay() -> Double {
    if !isHealed, random.chance(faults.slowMessages) { return random.between(0.02, 1) }
    return random.between(0.0005, 0.01)
  }

  // MARK: Running

  /// Runs until everything has come to an end, or should have.
  func run() {
    origin.begin()
    at(Self.healing, "the faults stop") { [unowned self] in heal() }
    while violation == nil, !isSettled, let (time, label, work) = queue.next() {
      guard time < Self.healing + Self.patience, steps < Self.maximumSteps else { break }
      now = time
      steps += 1
      if let faults = faultsBySteps.removeValue(forKey: steps) { for fault in faults where !isHealed { strike(fault) } }
      if trace != nil, !label.isEmpty { say(label) }
      work()
      check()
    }
    if violation == nil { judge() }
    dismantle()
    counts.worlds = 1
    counts.failures = violation == nil ? 0 : 1
    counts.steps = steps
    counts.jobs = origin.jobs.count
    counts.executions = origin.jobs.reduce(0) { $0 + $1.executions }
  }

  /// Everything lets go of everything.
  private func dismantle() {
    queue = EventQueue()
    for agent in origin.agents { agent.abandon() }
    for job in origin.jobs { for copy in job.copies { copy.abandon() } }
    for target in targets { for link in target.links { link.abandon() } }
  }

  private var isSettled: Bool {
    guard wishesLeft == 0, faultsLeft == 0, messagesUnderWay == 0, steps > 5 else { return false }
    return origin.isQuiet && targets.allSatisfy(\.isQuiet)
  }

  private func heal() {
    isHealed = true
    faultsBySteps = [:]
    for target in targets { target.heal() }
    origin.heal()
  }

  func say(_ words: @autoclosure () -> String) {
    guard trace != nil else { return }
    let milliseconds = Int((now * 1000).rounded())
    trace?.append("\(steps) \(milliseconds) ms  \(words())")
  }

  func fail(_ words: @autoclosure () -> String) {
    guard violation == nil else { return }
    violation = words()
    say("VIOLATION: \(words())")
  }

  private func excuse(_ job: OriginJob) {
    guard !job.isExcused else { return }
    job.isExcused = true
    counts.excused += 1
  }

  // MARK: Faults

  func strike(_ fault: Fault) {
    guard !isHealed else { return }
    say("FAULT \(fault)")
    let target = targets[random.below(targets.count)]
    switch fault {
    case .agentCrash: origin.agent?.crash()
    case .pluginReload: origin.reloadPlugin()
    case .managerReload: origin.reloadManager()
    case .originCrash: origin.crash()
    case .targetCrash: busiest(or: target).crash()
    case .connectionLoss: origin.agent?.loseConnection(to: busiest(or: target))
    case .outage: target.outage()
    case .targetReload: busiest(or: target).reload()
    case .cancel: for job in origin.jobs { origin.cancel(job) }
    }
  }

  /// Faults where nothing happens show nothing.
  private func busiest(or target: SimTarget) -> SimTarget { targets.first { !$0.isQuiet } ?? target }

  // MARK: Checking

  /// What has to be true after every step.
  private func check() {
    for job in origin.jobs {
      guard job.copies.count > 1 else { continue }
      var released = 0
      for copy in job.copies where copy.isReleased { released += 1 }
      if released > job.maximumRuns { doubled(job, "job \(job.index): \(released) copies may run at once") }
    }
  }

  /// A copy starts.
  func started(_ copy: RemoteJob) {
    let job = copy.owner
    if job.isCancelled, !job.isActive, !job.isOrphaned, now > job.cancelled + Self.lastWord, job.maximumRuns == 1 {
      fail("job \(job.index): was cancelled, and runs at a target")
    }
    copy.owner.executions += 1
    if copy.owner.executions > copy.owner.maximumRuns {
      doubled(copy.owner, "job \(copy.owner.index): executed \(copy.owner.executions) times")
    }
  }

  /// Twice is excused when what would have prevented it was lost by others: the origin its record, and a target the copy; or a message has
  /// arrived after that.
  private func doubled(_ job: OriginJob, _ words: @autoclosure () -> String) {
    if job.lostItsRecord || job.lostItsChoice, job.lostItsCopy || hadLateMessages { return excuse(job) }
    fail(words())
  }

  /// What has to be true in the end.
  private func judge() {
    if steps >= Self.maximumSteps { fail("more than \(Self.maximumSteps) steps") }
    if wishesLeft > 0 { fail("owners' wishes are left") }
    for job in origin.jobs {
      judgeEnd(job)
      for copy in job.copies where copy.isActive {
        guard copy.isReleased || copy.state == .ending else {
          if copy.id != job.recorded || !job.isActive { counts.strays += 1 }
          continue
        }
        // A hand-off is its owner's at the target.
        if job.isActive || (job.hasSucceeded && job.recorded == copy.id) { continue }
        if job.lostItsChoice || job.lostItsRecord, job.lostItsCopy || hadLateMessages {
          excuse(job)
        } else {
          fail("job \(job.index) has ended at its origin, and runs at target \(copy.mark.attempt)")
        }
      }
    }
  }

  private func judgeEnd(_ job: OriginJob) {
    guard job.isActive else { return }
    guard let machine = origin.attached?.machines[job.index] else {
      return fail("job \(job.index) is in \(job.state) at its origin, and no agent has it")
    }
    if machine.reason == nil, job.lostItsUrgency { return excuse(job) }
    guard machine.reason != nil else {
      return fail(
        "job \(job.index) is in \(job.state) at its origin, its machine \(machine.state), and nobody says why")
    }
    counts.held += 1
    if !job.lostItsCopy {
      fail("job \(job.index) is held for ever: \(machine.state): \(machine.reason ?? "")")
    }
  }
}
