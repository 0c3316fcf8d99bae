// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// A connection of an agent to a target, with its journal (TargetJournal). Messages keep their order; when it breaks, or the agent dies, what
/// is on the way may arrive late or never, and no answer comes.
final class Link {
  private struct Follow {
    var job: Int
    var hasResources = false
    /// What has come while the past is being looked up; nil when it is not.
    var later: [RemoteJob.Event]?
  }

  private struct Unclaimed {
    var mark: Mark
    var events: [RemoteJob.Event]
    var since: Double

    var isOver: Bool { events.contains { if case .clean = $0 { true } else { false } } }

    /// Whether it waits for nothing but its release.
    var isHeld: Bool {
      !events.contains { event in
        switch event {
        case .clean, .alloc: true
        case .urgency(let urgency): urgency != 0
        default: false
        }
      }
    }
  }

  unowned let world: World
  unowned let agent: SimAgent
  let target: SimTarget
  private let epoch: Int
  /// Whether the agent still takes it for one.
  private(set) var isOpen = true
  private(set) var isBroken = false
  private var lastOut = 0.0
  private var lastIn = 0.0
  /// How much later messages arrive that were on the way when it broke.
  private var lateBy: Double?
  private var number = 0
  private var pending: [Int: (TargetFailure) -> Void] = [:]
  private var follows: [JobID: Follow] = [:]
  /// What is known of jobs of ours that nobody follows yet.
  private var unclaimed: [JobID: Unclaimed] = [:]

  init(_ agent: SimAgent, _ target: SimTarget) {
    self.agent = agent
    world = agent.world
    self.target = target
    epoch = target.epoch
    for job in target.jobs.values where job.isActive {
      unclaimed[job.id] = Unclaimed(mark: job.mark, events: job.events, since: world.now)
    }
    watchStrays(after: Self.strayTime)
  }

  /// How long a copy is not followed before it is asked about; shorter than in Sources/Agent, so that it matters while something happens.
  private static let strayTime = 1.0

  private func watchStrays(after pause: Double) {
    world.after(pause, "") { [weak self] in
      guard let self, isOpen, agent.isAlive else { return }
      let found = unclaimed.filter { !$0.value.isOver && $0.value.since < self.world.now - Self.strayTime }
      for (id, entry) in found.sorted(by: { $0.key < $1.key }) {
        if let job = agent.origin.job(entry.mark.id) { agent.stray(id, isHeld: entry.isHeld, job, at: self) }
      }
      // TargetJournal.hasNoStrays
      if unclaimed.values.allSatisfy(\.isOver) {
        request("ping") { (reply: @escaping (Bool) -> Void) in
          reply(true)
        } _: { [weak self] result in
          if let self, case .success = result { agent.visits.insert(target.number) }
        }
      }
      // Rarely in the end, when nothing happens any more.
      watchStrays(after: min(pause * 1.5, 30))
    }
  }

  func forget(_ id: JobID) { unclaimed[id] = nil }

  /// The copy with a mark among those that nobody has followed yet.
  func unfollowed(_ mark: Mark) -> JobID? {
    let found = unclaimed.filter { $0.value.mark.names(sameJobAs: mark) }.keys.sorted()
    return found.isEmpty ? nil : found[world.random.below(found.count)]
  }

  // MARK: Requests

  /// Sends a request. `perform` is called at the target, with what sends the answer.
  func request<Answer>(
    _ label: @autoclosure () -> String, _ perform: @escaping (@escaping (Answer) -> Void) -> Void,
    _ done: @escaping (Result<Answer, TargetFailure>) -> Void
  ) {
    guard isOpen else { return done(.failure(Self.failure)) }
    number += 1
    let mine = number
    pending[mine] = { done(.failure($0)) }
    world.messagesUnderWay += 1
    lastOut = max(lastOut, world.now + world.delay())
    let words = world.trace == nil ? "" : label()
    world.at(lastOut, "target \(target.number): \(words)") { [self] in
      arrive(words) {
        perform { [self] answer in
          reply { [self] in if pending.removeValue(forKey: mine) != nil { done(.success(answer)) } }
        }
      }
    }
  }

  private func arrive(_ words: String, isLate: Bool = false, _ work: @escaping () -> Void) {
    if isBroken || !agent.isAlive, !isLate {
      if lateBy == nil { lateBy = world.random.between(0, world.faults.lateness) }
      guard world.random.chance(world.faults.lateDelivery) else {
        world.messagesUnderWay -= 1
        return world.say("lost on the way: \(words)")
      }
      return world.after(lateBy ?? 0, "target \(target.number), late: \(words)") { [self] in
        arrive(words, isLate: true, work)
      }
    }
    world.messagesUnderWay -= 1
    if isLate { world.hadLateMessages = true }
    guard target.isUp, target.epoch == epoch else { return world.say("lost with the target: \(words)") }
    work()
  }

  private func reply(_ work: @escaping () -> Void) {
    guard !isBroken, agent.isAlive else { return }
    lastIn = max(lastIn, world.now + world.delay())
    world.at(lastIn, "") { [self] in if isOpen, !isBroken, agent.isAlive { work() } }
  }

  // MARK: The end

  private static let failure = TargetFailure("connection lost", isTransient: true)

  /// The connection is cut; the agent sees it at once, or later.
  func breaks() {
    guard !isBroken else { return }
    isBroken = true
    target.links.removeAll { $0 === self }
    let isHalfOpen = !world.isHealed && world.random.chance(world.faults.halfOpen)
    world.say("the connection to target \(target.number) breaks\(isHalfOpen ? ", half-open" : "")")
    let notice = isHalfOpen ? world.random.between(0.05, 3) : world.random.between(0, 0.02)
    world.after(notice, "agent \(agent.number) sees that target \(target.number) is lost") { [self] in close() }
  }

  private func close() {
    guard isOpen else { return }
    isOpen = false
    guard agent.isAlive else { return }
    agent.closed(self)
    let listeners = follows.values.sorted { $0.job < $1.job }
    let failed = pending.sorted { $0.key < $1.key }
    follows = [:]
    pending = [:]
    // Each is told by a task of its own: in any order.
    var work = listeners.map { follow in { [self] in agent.feed(follow.job, .lost(Self.failure)) } }
    work += failed.map { request in { request.value(Self.failure) } }
    for item in work { world.after(world.random.between(0, 0.003), "") { [self] in if agent.isAlive { item() } } }
  }

  /// The agent has died.
  func abandon() {
    isOpen = false
    pending = [:]
    follows = [:]
    target.links.removeAll { $0 === self }
  }

  // MARK: The journal

  /// The target's journal says something.
  func journal(_ job: RemoteJob, _ event: RemoteJob.Event, isNew: Bool) {
    let id = job.id
    reply { [self] in
      if follows[id] != nil { return deliver(id, [event]) }
      if !isNew { return unclaimed[id]?.events.append(event) ?? () }
      guard job.mark.origin == agent.name else { return }
      unclaimed[id] = Unclaimed(mark: job.mark, events: [event], since: world.now)
    }
  }

  func follow(_ id: JobID, _ job: Int) {
    guard isOpen else { return agent.feed(job, .lost(Self.failure)) }
    follows[id] = Follow(job: job)
    if let known = unclaimed.removeValue(forKey: id) {
      agent.feed(job, .following)
      return deliver(id, known.events)
    }
    follows[id]?.later = []
    request("look-up of \(id)") { [target] (reply: @escaping ([RemoteJob.Event]?) -> Void) in
      reply(target.jobs[id]?.events)
    } _: { [self] result in
      guard case .success(let events) = result else { return agent.feed(job, .lost(Self.failure)) }
      guard let events else {
        follows[id] = nil
        return agent.feed(job, .lost(TargetFailure("does not know the job any more", isTransient: true)))
      }
      // Nobody wants to know any more.
      guard let later = follows[id]?.later else { return }
      follows[id]?.later = nil
      agent.feed(job, .following)
      follows[id]?.hasResources = true
      deliver(id, events + later, areLookedUp: true)
    }
  }

  func unfollow(_ id: JobID) { follows[id] = nil }

  private func deliver(_ id: JobID, _ events: [RemoteJob.Event], areLookedUp: Bool = false) {
    guard var follow = follows[id] else { return }
    if follow.later != nil {
      follows[id]?.later? += events
      return
    }
    var told: [RemoteEvent] = []
    for event in events {
      if case .alloc = event, !areLookedUp { follow.hasResources = true }
      // Resources come with `alloc`.
      if let event = RemoteJob.told(event, hasResources: follow.hasResources) { told.append(event) }
    }
    follows[id] = told.contains(.over) ? nil : follow
    if !told.isEmpty { agent.feed(follow.job, .remote(told)) }
    if !told.isEmpty, !world.isHealed, world.random.chance(world.faults.duplicates) {
      agent.feed(follow.job, .remote(told))
    }
  }
}
