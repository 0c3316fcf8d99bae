// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob
import Synchronization

/// Which targets take jobs now, for all jobs of the agent: it keeps a ``Delegation/TargetAdmission`` for each target, and those jobs that wait for one.
///
/// Who waits is let in the order of coming: a job that another one has made room for is counted at its target before it asks again.
final class TargetGovernor: Sendable {
  /// How often it is looked whether a pause is over, or a rate allows more.
  static let period = Duration.seconds(1)
  /// The most targets that are kept in mind as unreachable.
  private static let maximumTargets = 1024

  private struct Waiter {
    var number: UInt64
    var targets: [FluxURI]
  }

  private struct State {
    var targets: [FluxURI: TargetAdmission] = [:]
    /// Where jobs are counted.
    var places: [JobID: [FluxURI]] = [:]
    var waiters: [JobID: Waiter] = [:]
    /// How many wait for a target, alone or among others.
    var demand: [FluxURI: Int] = [:]
    /// Who waits for one target alone, and who for one of several, in their order; some may wait no more.
    var queues: [FluxURI: Queue] = [:]
    var anywhere = Queue()
    var lastNumber: UInt64 = 0
    /// Whether the jobs are known that were there before the agent was: until then nobody knows how many are at a target.
    var isOpen = false
    /// The targets that could not be connected when that was tried last.
    var unreachable: Set<FluxURI> = []

    func waits(_ id: JobID, _ number: UInt64) -> Bool { waiters[id]?.number == number }

    mutating func stopWaiting(_ id: JobID) {
      for uri in waiters.removeValue(forKey: id)?.targets ?? [] {
        demand[uri, default: 1] -= 1
        if demand[uri] == 0 { demand[uri] = nil }
      }
    }
  }

  /// Jobs in the order of their coming. What waits no more is dropped when it comes to the front, or when there is much of it.
  private struct Queue {
    private(set) var jobs: [(id: JobID, number: UInt64)] = []
    private var first = 0
    private var limit = 1024

    var rest: ArraySlice<(id: JobID, number: UInt64)> { jobs[first...] }

    mutating func add(_ id: JobID, _ number: UInt64, _ isLive: (JobID, UInt64) -> Bool) {
      jobs.append((id, number))
      guard jobs.count > limit else { return }
      jobs = rest.filter { isLive($0.id, $0.number) }
      first = 0
      limit = max(1024, 2 * jobs.count)
    }

    /// The first one that is still waiting.
    mutating func front(_ isLive: (JobID, UInt64) -> Bool) -> (id: JobID, number: UInt64)? {
      while first < jobs.count {
        if isLive(jobs[first].id, jobs[first].number) { return jobs[first] }
        first += 1
      }
      return nil
    }
  }

  private let state = Mutex(State())
  private let sink: AsyncStream<Agent.Input>.Continuation
  private let epoch = ContinuousClock.now

  init(sink: AsyncStream<Agent.Input>.Continuation) { self.sink = sink }

  private var now: Double {
    let elapsed = ContinuousClock.now - epoch
    return elapsed / .seconds(1)
  }

  /// These jobs may go: they have been counted at a target, or may look anew.
  private func tell(_ ids: [JobID]) { for id in ids { sink.yield(.job(id, .admissible)) } }

  // MARK: Jobs

  /// Those of the candidates that take a job now. Of these, the ones that can be reached, if there are any.
  ///
  /// - Parameter waits: whether the job waits when none does, and is told when that may have changed.
  /// - Returns: none, when none does; then the words say why.
  func open(_ candidates: [Target], for id: JobID, waits: Bool) -> (targets: [Target], words: String) {
    let now = now
    let (result, next) = state.withLock { state in
      let places = state.places[id] ?? []
      if let reserved = candidates.first(where: { places.contains($0.uri) }) { return (([reserved], ""), [JobID]()) }
      var reasons: [String] = []
      var next: [JobID] = []
      let open = candidates.filter { target in
        if waits { next += Self.letInAll(target.uri, now, &state) }
        guard let words = Self.objection(to: id, at: target.uri, now, state) else { return true }
        reasons.append("\(target.name): \(words)")
        return false
      }
      guard open.isEmpty else {
        if waits { state.stopWaiting(id) }
        let reachable = open.filter { !state.unreachable.contains($0.uri) }
        return ((reachable.isEmpty ? open : reachable, ""), next)
      }
      if waits { Self.wait(id, candidates.map(\.uri), &state) }
      return (([], Self.words(reasons)), next)
    }
    tell(next)
    return result
  }

  /// Why a job cannot go to a target now; nil when it can. Who has waited for it comes first.
  private static func objection(to id: JobID, at uri: FluxURI, _ now: Double, _ state: State) -> String? {
    guard state.isOpen else { return "the agent has just begun, and does not know yet what is there" }
    let target = state.targets[uri, default: TargetAdmission()]
    if case .later(let words) = target.answer(at: now) { return words }
    let others = (state.demand[uri] ?? 0) - (state.waiters[id]?.targets.contains(uri) == true ? 1 : 0)
    return others > 0 && target.isLimited ? "others have waited for longer" : nil
  }

  private static func words(_ reasons: [String]) -> String {
    guard reasons.count > 3 else { return reasons.joined(separator: "; ") }
    return reasons.prefix(3).joined(separator: "; ") + "; and \(reasons.count - 3) more targets take no jobs"
  }

  /// Lets a job go to a target, where it counts until it leaves.
  ///
  /// - Parameter waits: whether the job waits when it cannot, and is told when that may have changed.
  /// - Returns: why not, in words, if so.
  func admit(_ id: JobID, to target: Target, waits: Bool = true) -> String? {
    let now = now
    let (words, next) = state.withLock { state -> (String?, [JobID]) in
      // It has been let in before, or is there.
      if state.places[id]?.contains(target.uri) == true { return (nil, []) }
      let next = Self.letInAll(target.uri, now, &state)
      if state.places[id]?.contains(target.uri) == true { return (nil, next) }
      guard let words = Self.objection(to: id, at: target.uri, now, state) else {
        _ = state.targets[target.uri, default: TargetAdmission()].admit(id, at: now)
        if waits { state.stopWaiting(id) }
        Self.note(id, target.uri, &state)
        return (nil, next)
      }
      if waits { Self.wait(id, [target.uri], &state) }
      return ("\(target.name): \(words)", next)
    }
    tell(next)
    return words
  }

  private static func note(_ id: JobID, _ uri: FluxURI, _ state: inout State) {
    if state.places[id]?.contains(uri) != true { state.places[id, default: []].append(uri) }
  }

  private static func wait(_ id: JobID, _ targets: [FluxURI], _ state: inout State) {
    // Who waits for the same keeps its place.
    if state.waiters[id]?.targets == targets { return }
    state.stopWaiting(id)
    state.lastNumber += 1
    let number = state.lastNumber
    state.waiters[id] = Waiter(number: number, targets: targets)
    for uri in targets { state.demand[uri, default: 0] += 1 }
    if let only = targets.first, targets.count == 1 {
      var queue = state.queues.removeValue(forKey: only) ?? Queue()
      queue.add(id, number) { state.waits($0, $1) }
      state.queues[only] = queue
    } else {
      var queue = Queue()
      swap(&queue, &state.anywhere)
      queue.add(id, number) { state.waits($0, $1) }
      swap(&queue, &state.anywhere)
    }
  }

  /// A job is at a target, whoever let it.
  func enter(_ id: JobID, _ uri: FluxURI) {
    state.withLock { state in
      state.targets[uri, default: TargetAdmission()].enter(id)
      Self.note(id, uri, &state)
    }
  }

  /// A job is at a target no more.
  func leave(_ id: JobID, _ uri: FluxURI) {
    let now = now
    let next = state.withLock { state -> [JobID] in
      guard state.places[id]?.contains(uri) == true else { return [] }
      state.places[id]?.removeAll { $0 == uri }
      if state.places[id]?.isEmpty == true { state.places[id] = nil }
      state.targets[uri]?.leave(id, at: now)
      let next = Self.letInAll(uri, now, &state)
      // Nothing is known of it that anybody needs: a job has named it by its URI.
      if state.targets[uri]?.isBlank == true { state.targets[uri] = nil }
      return next
    }
    tell(next)
  }

  /// There is no such job any more, or it is counted at that target alone, if at all, and waits for none.
  func forget(_ id: JobID, but place: FluxURI? = nil) {
    let places = state.withLock { state in
      state.stopWaiting(id)
      return state.places[id] ?? []
    }
    for uri in places where uri != place { leave(id, uri) }
  }

  /// All jobs are known that were there before the agent was.
  func begin() {
    state.withLock { $0.isOpen = true }
    letInAll()
  }

  /// A job has ended at a target, by its own doing or by the target's.
  ///
  /// - Returns: words for the log when that changes something.
  func report(_ id: JobID, at uri: FluxURI, failure: String?) -> String? {
    let now = now
    return state.withLock { $0.targets[uri]?.report(id, failure: failure, at: now) }
  }

  // MARK: Those that wait

  /// Counts those that wait for a target there, the first ones first, as long as it has room.
  private static func letInAll(_ uri: FluxURI, _ now: Double, _ state: inout State) -> [JobID] {
    guard state.isOpen, state.demand[uri] != nil else { return [] }
    var found: [JobID] = []
    while state.targets[uri, default: TargetAdmission()].room(at: now) > 0, let id = takeFirst(for: uri, &state) {
      _ = state.targets[uri, default: TargetAdmission()].admit(id, at: now)
      note(id, uri, &state)
      found.append(id)
    }
    return found
  }

  private static func takeFirst(for uri: FluxURI, _ state: inout State) -> JobID? {
    // Taken out meanwhile: who still waits is asked of the rest.
    var queue = state.queues.removeValue(forKey: uri)
    let alone = queue?.front { state.waits($0, $1) }
    if alone != nil { state.queues[uri] = queue }
    var others = Queue()
    swap(&others, &state.anywhere)
    _ = others.front { state.waits($0, $1) }
    let among = others.rest.first { entry in
      state.waits(entry.id, entry.number) && state.waiters[entry.id]?.targets.contains(uri) == true
    }
    swap(&others, &state.anywhere)
    let first = [alone, among].compactMap { $0 }.min { $0.number < $1.number }
    guard let first else { return nil }
    state.stopWaiting(first.id)
    return first.id
  }

  /// Lets in whoever can be, until cancelled.
  func run() async {
    while !Task.isCancelled {
      letInAll()
      do { try await Task.sleep(for: Self.period) } catch { return }
    }
  }

  private func letInAll() {
    let now = now
    let next = state.withLock { state in
      state.demand.keys.flatMap { uri in Self.letInAll(uri, now, &state) }
    }
    tell(next)
  }

  // MARK: Targets

  /// The configuration is new: who waits looks at it anew.
  func configure(_ terms: [FluxURI: TargetTerms], targets: [Target]) {
    let waiting = state.withLock { state -> [JobID] in
      for uri in Set(state.targets.keys).union(terms.keys) {
        state.targets[uri, default: TargetAdmission()].terms = terms[uri] ?? TargetTerms()
      }
      state.targets = state.targets.filter { !$0.value.isBlank }
      state.unreachable.formIntersection(targets.map(\.uri))
      let waiting = state.waiters.sorted { $0.value.number < $1.value.number }.map(\.key)
      for id in waiting { state.stopWaiting(id) }
      return waiting
    }
    tell(waiting)
  }

  /// On what terms a target takes jobs, if the configuration names any.
  func terms(of uri: FluxURI) -> TargetTerms? { state.withLock { $0.targets[uri]?.terms } }

  /// Takes what was drained by hand, by an earlier agent too.
  func drain(_ drained: [FluxURI: TargetAdmission.Drain]) {
    state.withLock { state in
      for (uri, target) in state.targets where target.drained != nil && drained[uri] == nil {
        state.targets[uri]?.undrain()
      }
      for (uri, drain) in drained { state.targets[uri, default: TargetAdmission()].drained = drain }
    }
    letInAll()
  }

  /// What was drained by hand.
  var drained: [FluxURI: TargetAdmission.Drain] { state.withLock { $0.targets.compactMapValues(\.drained) } }

  /// Its administrator says that a target is well.
  func undrain(_ uri: FluxURI) {
    state.withLock { $0.targets[uri]?.undrain() }
    letInAll()
  }

  /// Whether a target could be connected.
  func noteConnection(_ uri: FluxURI, succeeded: Bool) {
    state.withLock { state in
      if succeeded {
        state.unreachable.remove(uri)
      } else if state.unreachable.count < Self.maximumTargets {
        state.unreachable.insert(uri)
      }
    }
  }

  /// How a target stands, for listings.
  struct Standing: Sendable {
    var jobs: Int
    var drain: TargetAdmission.Drain?
    /// Why it is paused, and for how many seconds more.
    var paused: (reason: String, seconds: Double)?
  }

  func standing(of uri: FluxURI) -> Standing {
    let now = now
    return state.withLock { state in
      let target = state.targets[uri] ?? TargetAdmission()
      let paused = target.paused(at: now).map { (reason: $0.reason, seconds: max(0, $0.until - now)) }
      return Standing(jobs: target.count, drain: target.drain, paused: paused)
    }
  }

  /// Every target that a job is at, or that was drained.
  var known: [FluxURI] {
    state.withLock { state in state.targets.filter { $0.value.count > 0 || $0.value.drain != nil }.map(\.key) }
  }
}
