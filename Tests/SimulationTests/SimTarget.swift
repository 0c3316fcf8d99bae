// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// A target instance: takes jobs, held or not, runs those that are released, tells its journal; may die, with its jobs or without.
final class SimTarget {
  unowned let world: World
  let number: Int
  let target: Target
  /// How far its clock is ahead, in seconds.
  let clock: Double
  private(set) var isUp = true
  /// Changes when it dies: whatever was on the way to it is lost.
  private(set) var epoch = 0
  /// Whether it cannot be reached, although it lives.
  private(set) var isCutOff = false
  /// Whether its job manager is away for a moment.
  private(set) var isReloading = false
  private(set) var jobs: [JobID: RemoteJob] = [:]
  private var order: [RemoteJob] = []
  private var lastID: UInt64
  /// The connections to it.
  var links: [Link] = []

  init(_ world: World, _ number: Int) {
    self.world = world
    self.number = number
    target = Self.all[number]
    clock = world.random.between(-3000, 3000)
    lastID = UInt64(number + 1) << 32
  }

  private static let all: [Target] = (0..<3).map { Target(uri: FluxURI(local: "/t\($0)"), label: "t\($0)") }
  private static let numbers = Dictionary(uniqueKeysWithValues: all.enumerated().map { ($1.uri, $0) })

  /// The target with a URI.
  static func number(of uri: FluxURI) -> Int { numbers[uri] ?? 0 }

  /// Whether nothing can happen here by itself.
  var isQuiet: Bool { isUp && !order.contains { $0.isActive && $0.isReleased || $0.state == .ending } }

  // MARK: Requests

  /// What a search brings: of several copies, any.
  func find(_ mark: Mark) -> JobID? {
    let found = order.filter {
      $0.mark.names(sameJobAs: mark) && $0.listed <= world.now && $0.submitted >= mark.submitted - 3600
    }
    return found.isEmpty ? nil : found[world.random.below(found.count)].id
  }

  /// The same by attempt, the latest: of several copies, any.
  func copy(of mark: Mark) -> (id: JobID, attempt: Int)? {
    let found = order.filter {
      $0.mark.names(sameJobAs: mark) && $0.listed <= world.now && $0.mark.attempt >= mark.attempt
    }
    guard let last = found.map(\.mark.attempt).max() else { return nil }
    let latest = found.filter { $0.mark.attempt == last }
    return (latest[world.random.below(latest.count)].id, last)
  }

  func submit(_ jobspec: Jobspec) -> DelegatedJob.Event {
    if !world.isHealed, world.random.chance(world.faults.rejections) { return .rejected("as planned") }
    guard let mark = Mark(jobspec: jobspec.json), let owner = world.origin.job(mark.id) else {
      world.fail("a jobspec without a mark")
      return .rejected("no mark")
    }
    lastID += 1
    let job = RemoteJob(
      id: JobID(rawValue: lastID), mark: mark, owner: owner, submitted: Origin.epochTime + world.now + clock,
      listed: world.now + world.random.between(0, 0.02))
    jobs[job.id] = job
    order.append(job)
    owner.copies.append(job)
    world.say("target \(number): copy \(job.id) of job \(owner.index)")
    tell(job, nil)
    return .accepted(job.id)
  }

  /// Whether it has a job, or remembers one.
  func knows(_ id: JobID) -> Bool { jobs[id] != nil }

  /// - Returns: false when it refuses.
  func setUrgency(_ id: JobID, _ urgency: Int) -> Bool {
    guard let job = jobs[id], job.state == .pending else { return false }
    job.urgency = urgency
    tell(job, .urgency(urgency))
    plan(job)
    return true
  }

  func cancel(_ id: JobID) {
    guard let job = jobs[id], job.isActive else { return }
    end(job, exception: "cancel", status: WaitStatus(signal: 15))
  }

  // MARK: A job's way

  private func plan(_ job: RemoteJob) {
    guard job.urgency > 0, !job.startIsPlanned else { return }
    job.startIsPlanned = true
    later(job, job.owner.plan.wait + world.random.between(0, 0.02), "target \(number): job \(job.id) gets resources") {
      [unowned self] in
      job.startIsPlanned = false
      guard job.state == .pending, job.urgency > 0 else { return }
      if case .noResources = job.owner.plan.fates[number] { return end(job, exception: "alloc", status: nil) }
      start(job)
    }
  }

  private func start(_ job: RemoteJob) {
    tell(job, .alloc)
    job.state = .running
    world.started(job)
    later(job, 0.002, "target \(number): job \(job.id) starts") { [unowned self] in
      if job.state == .running { hasStarted(job) }
    }
    later(job, 0.003 + job.owner.plan.runtime, "target \(number): job \(job.id) ends") { [unowned self] in
      guard job.state == .running else { return }
      switch job.owner.plan.fates[number] {
      case .exit(let code): end(job, exception: nil, status: WaitStatus(exit: code))
      case .timeLimit: end(job, exception: "timeout", status: WaitStatus(signal: 14))
      case .noSuchCommand: end(job, exception: "exec", status: WaitStatus(exit: 127))
      case .lost, .noResources: end(job, exception: "exec", status: nil)
      }
    }
  }

  private func hasStarted(_ job: RemoteJob) {
    guard !job.hasStarted else { return }
    job.hasStarted = true
    tell(job, .start(world.now + clock))
  }

  private func end(_ job: RemoteJob, exception: String?, status: WaitStatus?) {
    let ran = job.state == .running
    guard job.state == .pending || ran else { return }
    job.state = ran ? .ending : .over
    if ran, status != nil { hasStarted(job) }
    job.exception = exception
    if let exception { tell(job, .exception(exception)) }
    guard ran else { return tell(job, .clean) }
    later(job, exception == nil ? 0 : 0.01, "target \(number): job \(job.id) finishes") { [unowned self] in
      job.status = status
      if let status { tell(job, .finish(world.now + clock, status)) }
      later(job, world.random.between(0, 0.01), "target \(number): job \(job.id) is over") { [unowned self] in
        job.state = .over
        tell(job, .clean)
      }
    }
  }

  /// What happens to a job as long as its instance lives.
  private func later(
    _ job: RemoteJob, _ delay: Double, _ label: @autoclosure () -> String, _ work: @escaping () -> Void
  ) {
    world.after(delay, label()) { [unowned self] in
      guard jobs[job.id] === job else { return }
      if isUp { work() } else { later(job, 0.2, "", work) }
    }
  }

  /// An event for the journal; nil says that the job is new.
  private func tell(_ job: RemoteJob, _ event: RemoteJob.Event?) {
    if let event { job.events.append(event) }
    job.tellWaiters()
    for link in links { link.journal(job, event ?? .urgency(0), isNew: event == nil) }
  }

  // MARK: Faults

  func crash() {
    guard isUp else { return }
    let loses = world.random.chance(world.faults.amnesia)
    world.say("target \(number) dies\(loses ? " and forgets its jobs" : "")")
    epoch += 1
    isUp = false
    for link in links { link.breaks() }
    links = []
    if loses {
      for job in order {
        job.wasLostBeforeItsRelease = job.state == .pending && job.urgency == 0
        job.state = .over
        job.owner.lostItsCopy = true
      }
      order = []
      jobs = [:]
    }
    world.after(world.random.between(0.1, 2), "target \(number) is there again") { [unowned self] in comeBack() }
  }

  private func comeBack() {
    guard !isUp else { return }
    isUp = true
    // What ran goes on, or its shells were lost.
    for job in order where job.state == .running {
      if world.random.chance(0.5) { end(job, exception: "exec", status: nil) }
    }
  }

  func outage() {
    guard !isCutOff else { return }
    isCutOff = true
    for link in links { link.breaks() }
    world.after(world.random.between(0.1, 3), "target \(number) can be reached again") { [unowned self] in
      isCutOff = false
    }
  }

  func reload() {
    isReloading = true
    world.after(world.random.between(0.02, 0.3), "target \(number): its job manager is back") { [unowned self] in
      isReloading = false
    }
  }

  func heal() {
    isCutOff = false
    isReloading = false
    comeBack()
  }
}
