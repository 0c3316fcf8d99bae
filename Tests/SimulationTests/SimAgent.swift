// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// An agent as Sources/Agent has it: a machine a job, whose actions are carried out side by side; connections to targets that all jobs share.
/// When it dies everything is gone.
final class SimAgent {
  unowned let world: World
  unowned let origin: Origin
  let number: Int
  /// The origin's name, as it was when the agent began.
  let name: String
  /// The life of the origin that it is connected to.
  private let epoch: Int
  private(set) var isAlive = true
  /// Whether nothing of it is on the way to the origin any more.
  var isGone = false
  var machines: [Int: DelegatedJob] = [:]
  var isReady = false
  /// The jobs that the plugin has named, and it has not heard of.
  var unheard: Set<Int> = []
  private var links: [Int: Link] = [:]
  private var waiting: [Int: [(Result<Link, TargetFailure>) -> Void]] = [:]
  private var lastOut = 0.0
  private var lastIn = 0.0
  /// The jobs that it knows to be cancelled by their owner.
  private var toldOfCancel: Set<Int> = []
  private var copying: [Int: Int] = [:]
  /// The targets of which it is known what earlier agents have left there.
  var visits: Set<Int> = []

  init(_ origin: Origin, number: Int) {
    self.origin = origin
    world = origin.world
    self.number = number
    name = origin.name
    epoch = origin.epoch
  }

  var isBusy: Bool { !machines.isEmpty }

  /// It has been told of all jobs that there are, and looks what is at the targets.
  func begin() {
    isReady = true
    for target in world.targets { visit(target, after: 5) }
  }

  /// Agent.visit
  private func visit(_ target: SimTarget, after pause: Double) {
    guard !visits.contains(target.number) else { return }
    withTarget(target.target.uri) { _ in }
    world.after(pause, "") { [self] in if isAlive { visit(target, after: 2 * pause) } }
  }

  // MARK: The end

  func crash() {
    guard isAlive else { return }
    world.say("agent \(number) dies")
    isAlive = false
    for index in unheard.union(machines.keys) {
      let job = origin.jobs[index]
      // Its successor will not be told of it.
      if !job.isActive, job.isCancelled { job.isOrphaned = true }
    }
    for link in links.values { link.abandon() }
    for (index, count) in copying { origin.jobs[index].copiers -= count }
    machines = [:]
    waiting = [:]
    // What it has sent arrives before the end of its connection does.
    lastOut = max(lastOut, world.now + world.delay())
    world.at(lastOut, "the origin sees that agent \(number) has gone") { [self] in origin.detached(self) }
  }

  /// The world ends.
  func abandon() {
    for link in links.values { link.abandon() }
    links = [:]
    waiting = [:]
  }

  // MARK: Messages

  /// Sends a request to the origin.
  func send(_ label: @autoclosure () -> String, _ work: @escaping () -> Void) {
    let epoch = epoch
    lastOut = max(lastOut, world.now + world.delay())
    world.at(lastOut, "origin: \(label())") { [origin] in if origin.epoch == epoch { work() } }
  }

  /// An answer of the origin: it may overtake what the plugin says.
  private func answer(_ job: Int, _ event: DelegatedJob.Event, after extra: Double = 0) {
    world.after(world.delay() + extra, "") { [self] in if isAlive { feed(job, event) } }
  }

  /// The plugin's stream, in its order.
  func told(_ label: @autoclosure () -> String, _ work: @escaping () -> Void) {
    lastIn = max(lastIn, world.now + world.delay())
    world.at(lastIn, label()) { [self] in if isAlive { work() } }
  }

  // MARK: Machines

  func feed(_ index: Int, _ event: DelegatedJob.Event) {
    guard isAlive else { return }
    if case .discovered = event { unheard.remove(index) }
    if case .discovered = event, machines[index] == nil {
      var limits = DelegatedJob.Limits()
      // Seeds of old have none.
      if world.faults.deferrals == 0 { limits.jitter = 0 }
      machines[index] = DelegatedJob(
        id: origin.jobs[index].id, origin: name, originStart: origin.started, limits: limits)
    }
    switch event {
    case .origin(let entry): if Origin.isCancellation(entry) { toldOfCancel.insert(index) }
    case .read(let record): if record.eventlog.contains(where: Origin.isCancellation) { toldOfCancel.insert(index) }
    default: break
    }
    guard machines[index] != nil else {
      // Nothing of a job without a machine is at a target: when it is ended the plugin need not keep it.
      if case .origin(let entry) = event, entry.name == "exception" {
        perform(.release(DelegatedJob.Holds(), nil), index)
      }
      return
    }
    let actions = machines[index]?.handle(event) ?? []
    if world.trace != nil, let machine = machines[index] {
      world.say("agent \(number), job \(index): \(Words.of(event)) -> \(actions.map(Words.of)), \(machine.state)")
    }
    for action in actions { perform(action, index) }
  }

  private func perform(_ action: DelegatedJob.Action, _ index: Int) {
    let job = origin.jobs[index]
    switch action {
    case .forget: machines[index] = nil
    case .complain(let words):
      // That it is let go although its copy cannot be cancelled yet, is no mistake.
      if !words.contains("it was ended") { world.fail("agent \(number): \(words)") }
    case .release(let holds, let status, let hasLogs):
      if hasLogs {
        send("move of the logs of job \(index)") {
          job.wasGivenUp = true
          job.moveLogs()
        }
      }
      send("release of job \(index)") { [self] in
        if origin.attached === self { _ = origin.release(job, holds, status) }
      }
    case .annotate, .memo, .report, .cancelHere: break
    case .awaitPatience(_, let delivery, let patience, let isHeld, let number):
      guard isHeld || delivery == .atLeastOnce else { break }
      let seconds = patience ?? Delivery.defaultPatience
      world.after(seconds, "") { [self] in if isAlive { feed(index, .impatient(number)) } }
    case .sweep(let uri):
      visits.remove(SimTarget.number(of: uri))
      visit(world.targets[SimTarget.number(of: uri)], after: 1)
    case .renew:
      write(job, "empty logs") {
        job.hasNamespace = true
        job.hasOutput = false
        return nil
      }
    case .pause(let seconds): world.after(seconds, "") { [self] in if isAlive { feed(index, .timer) } }
    case .choose(let request, let tried, let isReachable):
      if isReachable { chooseReachable(index, request, tried) } else { choose(index, request, tried) }
    case .read(let submission): read(job, submission)
    case .post(let name, let context):
      write(job, "post \(name)") { [origin] in origin.post(job, name, context) ? nil : "ENOENT" }
    case .raise(let type, let severity, let note):
      write(job, "raise \(type)") { [origin] in origin.raise(job, type, severity, note) ? nil : "ENOENT" }
    case .prepare:
      write(job, "logs") {
        job.hasNamespace = true
        return nil
      }
    case .discard: send("removal of the logs of job \(index)") { job.hasNamespace = false }
    case .store:
      send("resources of job \(index)") { [self] in
        job.isStored = true
        answer(index, .stored)
      }
    case .allocate(_, let started, let isHeld, _):
      write(job, "allocate", isPlugin: true) { [origin] in origin.allocate(job, started, isHeld) }
    case .start: write(job, "start", isPlugin: true) { [origin] in origin.start(job) }
    case .finish(let status): write(job, "finish", isPlugin: true) { [origin] in origin.finish(job, status) }
    case .close(let holds): close(job, holds)
    case .look(let uri, let mark): look(index, uri, mark)
    case .search(let mark): search(index, mark)
    case .submit(let uri, let jobspec): submit(index, uri, jobspec)
    case .follow(let uri, let remote): follow(index, uri, remote)
    case .unfollow(let uri, let remote): links[SimTarget.number(of: uri)]?.unfollow(remote)
    case .copy(let uri, let remote, let output, _): copy(job, uri, remote, output)
    case .control(let uri, let remote, let control): self.control(job, uri, remote, control)
    case .cancel(let uri, let remote, _): cancel(index, uri, remote)
    }
  }

  // MARK: The origin

  private func read(_ job: OriginJob, _ submission: Submission?) {
    send("read job \(job.index)") { [self] in
      guard origin.managerIsUp else { return answer(job.index, .unreadable("ENOSYS", isGone: false)) }
      let record = JobRecord(
        id: job.id, userID: 0, urgency: job.urgency, jobspec: job.plan.request.jobspec,
        eventlog: submission == nil ? job.eventlog : [], submitted: submission?.time)
      // The jobspec comes by another way.
      answer(job.index, .read(record), after: world.random.chance(0.2) ? world.delay() : 0)
    }
  }

  private func write(
    _ job: OriginJob, _ label: @autoclosure () -> String, isPlugin: Bool = false, _ work: @escaping () -> String?
  ) {
    send("\(label()) of job \(job.index)") { [self] in
      guard origin.managerIsUp, !isPlugin || origin.pluginIsLoaded else {
        return answer(job.index, .unwritten("ENOSYS"))
      }
      guard !isPlugin || origin.attached === self else { return answer(job.index, .unwritten("EPERM")) }
      let mistake = work()
      answer(job.index, mistake.map { .unwritten($0) } ?? .written)
    }
  }

  /// GuestJob.close: two requests, and the agent may die between them.
  private func close(_ job: OriginJob, _ holds: DelegatedJob.Holds) {
    send("move of the logs of job \(job.index)") { [self] in
      job.moveLogs()
      world.after(world.delay(), "") { [self] in
        guard isAlive else { return }
        write(job, "release", isPlugin: true) { [origin] in origin.release(job, holds, nil) }
      }
    }
  }

  // MARK: Targets

  /// TargetPool: the connection that there is, or a new one.
  func withTarget(_ uri: FluxURI, _ work: @escaping (Result<Link, TargetFailure>) -> Void) {
    let number = SimTarget.number(of: uri)
    if let link = links[number], link.isOpen { return work(.success(link)) }
    waiting[number, default: []].append(work)
    guard waiting[number]?.count == 1 else { return }
    let target = world.targets[number]
    world.after(world.delay(), "agent \(self.number) connects to target \(number)") { [self] in
      guard isAlive else { return }
      guard target.isUp, !target.isCutOff else {
        let isTransient = world.random.chance(0.7)
        return world.after(isTransient ? world.random.between(0, 0.5) : 0.001, "") { [self] in
          opened(number, .failure(TargetFailure("target \(number) cannot be reached", isTransient: isTransient)))
        }
      }
      let link = Link(self, target)
      target.links.append(link)
      world.after(2 * world.delay(), "") { [self] in
        guard isAlive else { return link.abandon() }
        guard !link.isBroken else {
          return opened(number, .failure(TargetFailure("connection lost", isTransient: true)))
        }
        links[number] = link
        opened(number, .success(link))
      }
    }
  }

  private func opened(_ number: Int, _ result: Result<Link, TargetFailure>) {
    guard isAlive else { return }
    for work in waiting.removeValue(forKey: number) ?? [] { work(result) }
  }

  func closed(_ link: Link) { if links[link.target.number] === link { links[link.target.number] = nil } }

  func loseConnection(to target: SimTarget) { (links[target.number] ?? links.min { $0.key < $1.key }?.value)?.breaks() }

  private func look(_ index: Int, _ uri: FluxURI, _ mark: Mark) {
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): feed(index, .unreachable(failure))
      case .success(let link):
        if let held = link.unfollowed(mark) { return feed(index, .found(held)) }
        link.request("search for job \(index)") { (reply: @escaping (JobID?) -> Void) in
          reply(link.target.find(mark))
        } _: { [self] result in
          switch result {
          case .success(let found): feed(index, .found(found))
          case .failure(let failure): feed(index, .unreachable(failure))
          }
        }
      }
    }
  }

  /// Worker.search: all targets at once.
  private func search(_ index: Int, _ mark: Mark) {
    var left = world.targets.count
    var best: (target: SimTarget, id: JobID, attempt: Int)?
    var failure: TargetFailure?
    let answered = { [self] in
      left -= 1
      guard left == 0 else { return }
      if let failure { return feed(index, .unreachable(failure)) }
      guard let best else { return feed(index, .found(nil)) }
      feed(index, .foundAt(best.target.target, best.id, attempt: best.attempt))
    }
    for target in world.targets {
      withTarget(target.target.uri) { result in
        guard case .success(let link) = result else {
          failure = TargetFailure("target \(target.number) cannot be searched", isTransient: true)
          return answered()
        }
        link.request("search for job \(index)") { (reply: @escaping ((id: JobID, attempt: Int)?) -> Void) in
          reply(target.copy(of: mark))
        } _: { result in
          switch result {
          case .failure(let lost): failure = lost
          case .success(let found?):
            if found.attempt > best?.attempt ?? 0 { best = (target, found.id, found.attempt) }
          case .success(nil): break
          }
          answered()
        }
      }
    }
  }

  private func submit(_ index: Int, _ uri: FluxURI, _ jobspec: Jobspec) {
    if defers(index) { return }
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): feed(index, .unreachable(failure))
      case .success(let link):
        link.request("submission of job \(index)") { (reply: @escaping (DelegatedJob.Event) -> Void) in
          if link.target.isReloading {
            reply(.unanswered(TargetFailure("ENOSYS", isTransient: true)))
          } else {
            reply(link.target.submit(jobspec))
          }
        } _: { [self] result in
          switch result {
          case .success(let event): feed(index, event)
          case .failure(let failure): feed(index, .unanswered(failure))
          }
        }
      }
    }
  }

  private func follow(_ index: Int, _ uri: FluxURI, _ remote: JobID) {
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): feed(index, .lost(failure))
      case .success(let link): link.follow(remote, index)
      }
    }
  }

  private func control(_ job: OriginJob, _ uri: FluxURI, _ remote: JobID, _ control: DelegatedJob.Control) {
    if case .urgency(let urgency) = control, urgency > 0 {
      if job.recorded != remote, !job.lostItsRecord, job.isActive {
        world.fail("a copy is released that is not on record")
      }
      if toldOfCancel.contains(job.index) { world.fail("job \(job.index): released although it was cancelled") }
    }
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): feed(job.index, .uncontrolled(failure))
      case .success(let link):
        link.request("\(control) of \(remote)") { (reply: @escaping (DelegatedJob.Event) -> Void) in
          if link.target.isReloading {
            return reply(.uncontrolled(TargetFailure("ENOSYS", isTransient: true)))
          }
          guard link.target.knows(remote) else { return reply(.forgotten("ENOENT")) }
          if case .urgency(let urgency) = control { _ = link.target.setUrgency(remote, urgency) }
          reply(.controlled)
        } _: { [self] result in
          switch result {
          case .success(let event): feed(job.index, event)
          case .failure(let failure): feed(job.index, .uncontrolled(failure))
          }
        }
      }
    }
  }

  private func cancel(_ index: Int, _ uri: FluxURI, _ remote: JobID) {
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): feed(index, .unreachable(failure))
      case .success(let link):
        link.request("cancel of \(remote)") { (reply: @escaping (TargetFailure?) -> Void) in
          if link.target.isReloading { return reply(TargetFailure("ENOSYS", isTransient: true)) }
          link.target.cancel(remote)
          reply(nil)
        } _: { [self] result in
          switch result {
          case .success(nil): feed(index, .cancelled)
          case .success(.some(let failure)), .failure(let failure): feed(index, .unreachable(failure))
          }
        }
      }
    }
  }

  /// A target has had a copy for a while, and nobody has followed it (Agent.isStray, Worker.judge).
  func stray(_ id: JobID, isHeld: Bool, _ job: OriginJob, at link: Link) {
    if let machine = machines[job.index] {
      guard let remote = machine.remote, remote != id else { return }
    }
    send("record of job \(job.index)") { [self] in
      let verdict = StrayVerdict(
        id, at: link.target.target.uri, isHeld: isHeld, record: Array(job.eventlog.prefix(job.durable)))
      world.after(world.delay(), "") { [self] in
        guard isAlive else { return }
        switch verdict {
        case .unknown: return
        case .handedOver: return link.forget(id)
        case .second, .cancelled, .abandoned: break
        }
        link.request("cancel of the stray \(id)") { (reply: @escaping (Bool) -> Void) in
          link.target.cancel(id)
          reply(true)
        } _: { _ in
        }
      }
    }
  }

  /// OutputCopier: done when the remote job is.
  private func copy(_ job: OriginJob, _ uri: FluxURI, _ remote: JobID, _ output: DelegatedJob.Output) {
    // GuestJob.reopen
    if output == .rest { job.hasNamespace = true }
    job.copiers += 1
    copying[job.index, default: 0] += 1
    if job.copiers > 1 { world.fail("job \(job.index): \(job.copiers) copiers of its output") }
    let done = { [self] (event: DelegatedJob.Event) in
      guard isAlive else { return }
      job.copiers -= 1
      copying[job.index, default: 0] -= 1
      if event == .copied, origin.epoch == epoch {
        if !job.hasNamespace { world.fail("job \(job.index): its output is copied to nowhere") }
        job.hasOutput = true
      }
      feed(job.index, event)
    }
    withTarget(uri) { [self] result in
      switch result {
      case .failure(let failure): done(.copyLost(failure))
      case .success(let link):
        let fails = !world.isHealed && world.random.chance(world.faults.copyErrors)
        link.request("copy of \(remote)") { [world] (reply: @escaping (Bool) -> Void) in
          if fails { return world.after(world.random.between(0, 0.3), "") { reply(false) } }
          guard let copy = link.target.jobs[remote] else { return reply(true) }
          copy.whenEnded { reply(true) }
        } _: { result in
          switch result {
          case .success(true): done(.copied)
          case .success(false): done(.copyLost(TargetFailure("kvs.commit", isTransient: true)))
          case .failure(let failure): done(.copyLost(failure))
          }
        }
      }
    }
  }
}
