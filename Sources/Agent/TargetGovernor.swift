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
  /// The most targets that are kept in mind; those that nothing is at, and that no configuration names, go first.
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
    /// Who waits for one target alone, and who for one of several, in their order; some may wait no more.
    var queues: [FluxURI: Queue] = [:]
    var anywhere = Queue()
    var lastNumber: UInt64 = 0
    /// The targets that could not be connected when that was tried last.
    var unreachable: Set<FluxURI> = []
    /// What was drained by hand.
    var drained: [FluxURI: TargetAdmission.Drain] = [:]
    var configured: [FluxURI: TargetTerms] = [:]
  }

  private struct Queue {
    var jobs: [(id: JobID, number: UInt64)] = []
    var first = 0

    mutating func add(_ id: JobID, _ number: UInt64) { jobs.append((id, number)) }

    var rest: ArraySlice<(id: JobID, number: UInt64)> { jobs[first...] }

    mutating func dropFirst() {
      first += 1
      guard first == jobs.count || first > 4096 else { return }
      jobs.removeFirst(first)
      first = 0
    }
  }

  private let state = Mutex(State())
  private let sink: AsyncStream<Agent.Input>.Continuation
  private let epoch = ContinuousClock.now

  init(sink: AsyncStream<Agent.Input>.Continuation) { self.sink = sink }

  private var now: Double {
    let elapsed = ContinuousClock.now - epoch
    return Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
  }

  // MARK: Jobs

  /// Those of the candidates that take a job now. Of these, the ones that can be reached, if there are any.
  ///
  /// - Parameter waits: whether the job waits when none does, and is told when that may have changed.
  /// - Returns: none, when none does; then the words say why.
  func open(_ candidates: [Target], for id: JobID, waits: Bool) -> (targets: [Target], words: String) {
    let now = now
    return state.withLock { state in
      let places = state.places[id] ?? []
      if let reserved = candidates.first(where: { places.contains($0.uri) }) { return ([reserved], "") }
      var reasons: [String] = []
      let open = candidates.filter { target in
        switch state.targets[target.uri, default: TargetAdmission()].answer(at: now) {
        case .now: return true
        case .later(let words):
          reasons.append("\(target.name): \(words)")
          return false
        }
      }
      guard open.isEmpty else {
        state.waiters[id] = nil
        let reachable = open.filter { !state.unreachable.contains($0.uri) }
        return (reachable.isEmpty ? open : reachable, "")
      }
      if waits { Self.wait(id, candidates.map(\.uri), &state) }
      return ([], Self.words(reasons))
    }
  }

  private static func words(_ reasons: [String]) -> String {
    guard reasons.count > 3 else { return reasons.joined(separator: "; ") }
    return reasons.prefix(3).joined(separator: "; ") + "; and \(reasons.count - 3) more targets take no jobs"
  }

  /// Lets a job go to a target, where it counts until it leaves.
  ///
  /// - Returns: why not, in words, if so; then the job is told when that may have changed.
  func admit(_ id: JobID, to target: Target) -> String? {
    let now = now
    return state.withLock { state in
      let answer = state.targets[target.uri, default: TargetAdmission()].admit(id, at: now)
      guard case .later(let words) = answer else {
        state.waiters[id] = nil
        Self.note(id, target.uri, &state)
        return nil
      }
      Self.wait(id, [target.uri], &state)
      return "\(target.name): \(words)"
    }
  }

  private static func note(_ id: JobID, _ uri: FluxURI, _ state: inout State) {
    if state.places[id]?.contains(uri) != true { state.places[id, default: []].append(uri) }
  }

  private static func wait(_ id: JobID, _ targets: [FluxURI], _ state: inout State) {
    state.lastNumber += 1
    state.waiters[id] = Waiter(number: state.lastNumber, targets: targets)
    if let only = targets.first, targets.count == 1 {
      state.queues[only, default: Queue()].add(id, state.lastNumber)
    } else {
      state.anywhere.add(id, state.lastNumber)
    }
  }

  /// A job is at a target, whoever let it.
  func enter(_ id: JobID, _ uri: FluxURI) {
    let now = now
    state.withLock { state in
      state.targets[uri, default: TargetAdmission()].enter(id, at: now)
      Self.note(id, uri, &state)
    }
  }

  /// A job is at a target no more.
  func leave(_ id: JobID, _ uri: FluxURI) {
    let now = now
    let next = state.withLock { state -> JobID? in
      guard state.places[id]?.contains(uri) == true else { return nil }
      state.places[id]?.removeAll { $0 == uri }
      if state.places[id]?.isEmpty == true { state.places[id] = nil }
      state.targets[uri]?.leave(id)
      return Self.letIn(uri, now, &state)
    }
    if let next { sink.yield(.job(next, .admissible)) }
  }

  /// There is no such job any more.
  func forget(_ id: JobID) {
    let places = state.withLock { state in
      state.waiters[id] = nil
      return state.places[id] ?? []
    }
    for uri in places { leave(id, uri) }
  }

  /// A job has ended at a target, by its own doing or by the target's.
  ///
  /// - Returns: words for the log when that changes something.
  func report(_ id: JobID, at uri: FluxURI, failure: String?) -> String? {
    let now = now
    return state.withLock { $0.targets[uri]?.report(id, failure: failure, at: now) }
  }

  // MARK: Those that wait

  /// Counts the first one that waits for a target with room there.
  private static func letIn(_ uri: FluxURI, _ now: Double, _ state: inout State) -> JobID? {
    guard state.targets[uri, default: TargetAdmission()].room(at: now) > 0 else { return nil }
    guard let id = takeFirst(for: uri, &state) else { return nil }
    _ = state.targets[uri, default: TargetAdmission()].admit(id, at: now)
    note(id, uri, &state)
    return id
  }

  private static func takeFirst(for uri: FluxURI, _ state: inout State) -> JobID? {
    while let (id, number) = state.queues[uri]?.rest.first {
      state.queues[uri]?.dropFirst()
      if state.waiters[id]?.number == number {
        state.waiters[id] = nil
        return id
      }
    }
    state.queues[uri] = nil
    while let (id, number) = state.anywhere.rest.first, state.waiters[id]?.number != number {
      state.anywhere.dropFirst()
    }
    for (id, number) in state.anywhere.rest {
      guard let waiter = state.waiters[id], waiter.number == number, waiter.targets.contains(uri) else { continue }
      state.waiters[id] = nil
      return id
    }
    return nil
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
    let next = state.withLock { state -> [JobID] in
      guard !state.waiters.isEmpty else { return [] }
      var next: [JobID] = []
      let waitedFor = Set(state.waiters.values.lazy.flatMap(\.targets))
      for uri in waitedFor { while let id = Self.letIn(uri, now, &state) { next.append(id) } }
      return next
    }
    for id in next { sink.yield(.job(id, .admissible)) }
  }

  // MARK: Targets

  /// The configuration is new.
  func configure(_ terms: [FluxURI: TargetTerms]) {
    state.withLock { state in
      for uri in state.configured.keys where terms[uri] == nil { state.targets[uri]?.terms = TargetTerms() }
      for (uri, terms) in terms { state.targets[uri, default: TargetAdmission()].terms = terms }
      state.configured = terms
      Self.tidy(&state)
    }
    letInAll()
  }

  private static func tidy(_ state: inout State) {
    guard state.targets.count > maximumTargets else { return }
    state.targets = state.targets.filter { uri, target in
      target.count > 0 || state.configured[uri] != nil || target.drain != nil
    }
  }

  /// On what terms a target takes jobs, if the configuration names any.
  func terms(of uri: FluxURI) -> TargetTerms? { state.withLock { $0.configured[uri] } }

  /// Takes what was drained by hand, by an earlier agent too.
  func drain(_ drained: [FluxURI: TargetAdmission.Drain]) {
    state.withLock { state in
      for uri in state.drained.keys where drained[uri] == nil { state.targets[uri]?.undrain() }
      for (uri, drain) in drained { state.targets[uri, default: TargetAdmission()].drained = drain }
      state.drained = drained
    }
    letInAll()
  }

  /// What was drained by hand.
  var drained: [FluxURI: TargetAdmission.Drain] { state.withLock { $0.drained } }

  /// Its administrator says that a target is well.
  func undrain(_ uri: FluxURI) {
    state.withLock { state in
      state.drained[uri] = nil
      state.targets[uri]?.undrain()
    }
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
