// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import Targets

/// The connections to targets: one a target, opened when a job needs it, shared by all jobs, closed when idle.
///
/// Every opening has a number. What an earlier connection's end has to say does not concern a later one of the same target.
actor TargetPool {
  /// The most targets that are connected at once.
  static let maximumTargets = 256
  /// How long a connection may be unused before it is closed.
  static let idleTime = Duration.seconds(300)

  private enum State {
    case opening
    case open(FluxTarget, lastUse: ContinuousClock.Instant)
  }

  private struct Slot {
    let number: UInt64
    var state: State
  }

  private struct Failure {
    /// Which opening that was.
    let number: UInt64
    let failure: TargetFailure
    /// When, in seconds since the epoch.
    let time: Double
    /// How often in a row it could not be connected, and until when nobody tries again; nil when it could.
    var backOff: (count: Int, last: ContinuousClock.Instant, pause: Duration)?
  }

  /// How long a target may take to tell of the jobs that are active there.
  private static let backlogTime = Duration.seconds(120)

  /// How many connections there are at once that serve one job each.
  private static let maximumOwnConnections = 16

  /// How many of these one target may have: its jobs leave some to others.
  private static let maximumShare = 4

  private let ownConnections = Gate(maximumOwnConnections)
  private let shares = TargetGates(maximumShare)
  private let configuration: FluxConnection.Configuration
  /// The origin's name in marks.
  private let origin: String
  private let probeTimeout: Duration
  private let log: OriginLog
  private let governor: TargetGovernor
  private let sink: AsyncStream<Agent.Input>.Continuation
  private var slots: [FluxURI: Slot] = [:]
  /// Who waits for a target that is being opened. Not in its slot: a hundred thousand jobs may, and each would copy those before.
  private var waiting: [FluxURI: [CheckedContinuation<FluxTarget, any Error>]] = [:]
  private var lastNumber: UInt64 = 0
  /// What the last connections that could not be made, or have ended, have come to; it stays when the target is connected again.
  private var failures: [FluxURI: Failure] = [:]
  /// The targets of which it is known what earlier agents have left there.
  private var visits: Set<FluxURI> = []
  /// Targets that no configuration need name, where copies may be left.
  private var sweeps: Set<FluxURI> = []
  private var isStopped = false
  private let wanted: AsyncStream<(FluxURI, UInt64)>
  private let want: AsyncStream<(FluxURI, UInt64)>.Continuation

  init(
    configuration: FluxConnection.Configuration, origin: String, probeTimeout: Duration, log: OriginLog,
    governor: TargetGovernor, sink: AsyncStream<Agent.Input>.Continuation
  ) {
    self.governor = governor
    self.configuration = configuration
    self.sink = sink
    self.origin = origin
    self.probeTimeout = probeTimeout
    self.log = log
    (wanted, want) = AsyncStream.makeStream()
  }

  /// The target at `uri`, once it is connected.
  ///
  /// - Parameter isUrgent: whether the job is given up when the target cannot be reached: then the pause since the last failure is short.
  /// - Throws: ``Delegation/TargetFailure``; the last one again while nobody tries.
  func target(_ uri: FluxURI, isUrgent: Bool = false) async throws -> FluxTarget {
    if let slot = slots[uri], case .open(let target, _) = slot.state {
      let isActive = await target.connection.isActive
      // Others may have acted meanwhile: only the slot that was asked about is judged.
      if slots[uri]?.number == slot.number {
        if isActive {
          slots[uri]?.state = .open(target, lastUse: .now)
          return target
        }
        slots[uri] = nil
      }
    }
    try Task.checkCancellation()
    guard !isStopped else { throw CancellationError() }
    guard slots[uri] != nil || slots.count < Self.maximumTargets else {
      throw TargetFailure("\(uri): \(Self.maximumTargets) other targets are connected", isTransient: true)
    }
    if slots[uri] == nil, let failure = pausing(uri, isUrgent: isUrgent) { throw failure }
    return try await withCheckedThrowingContinuation { wait(uri, $0) }
  }

  /// The same, for somebody who does not wait for long.
  ///
  /// - Throws: ``Delegation/TargetFailure``, with the reason when it cannot be connected.
  func target(_ uri: FluxURI, within limit: Duration) async throws -> FluxTarget {
    let end = ContinuousClock.now + limit
    let failureBefore = failures[uri]?.number
    while ContinuousClock.now < end {
      switch slots[uri]?.state {
      case .open(let target, _):
        let number = slots[uri]?.number
        if await target.connection.isActive { return target }
        if slots[uri]?.number == number { slots[uri] = nil }
        continue
      case .opening: break
      case nil:
        if let found = failures[uri], found.number != failureBefore { throw found.failure }
        if let failure = pausing(uri, isUrgent: true) { throw failure }
        guard slots.count < Self.maximumTargets, !isStopped else { return try await target(uri) }
        open(uri)
      }
      try await Task.sleep(for: .milliseconds(5))
    }
    throw TargetFailure("\(uri): does not answer within \(limit)", isTransient: true)
  }

  /// Runs `body` with a connection to a target that nobody else uses, when it is its turn to have one.
  nonisolated func withOwnConnection(
    to uri: FluxURI, _ body: @escaping @Sendable (FluxConnection) async throws -> Void
  ) async throws {
    try await shares.run(uri) {
      try await ownConnections.run {
        try await FluxConnection.withConnection(to: uri, configuration: configuration, logger: log.logger) {
          connection in
          try await withTaskCancellationHandler {
            try await body(connection)
          } onCancel: {
            connection.cancel()
          }
        }
      }
    }
  }

  /// Connects to a target that is not connected, for whoever may want it.
  func open(_ uri: FluxURI) {
    guard slots[uri] == nil, slots.count < Self.maximumTargets, !isStopped else { return }
    begin(uri)
  }

  // MARK: How it stands

  /// How the connection to a target stands, for listings.
  struct Status: Sendable {
    /// `connected`, `connecting`, `unreachable` or `idle`.
    var word: String
    var connected: FluxConnection?
    /// What the last attempt or connection ended with, and when, in seconds since the epoch.
    var lastError: (message: String, time: Double)?
    /// In how many seconds it is tried again.
    var retry: Double?
  }

  func status(of uri: FluxURI) -> Status {
    var status = Status(word: "idle", lastError: failures[uri].map { ($0.failure.message, $0.time) })
    switch slots[uri]?.state {
    case .open(let target, _): (status.word, status.connected) = ("connected", target.connection)
    case .opening: status.word = "connecting"
    case nil:
      guard let backOff = failures[uri]?.backOff else { break }
      status.word = "unreachable"
      let left = ContinuousClock.now.duration(to: backOff.last + backOff.pause)
      status.retry = max(0, left / .seconds(1))
    }
    return status
  }

  // MARK: Back-off

  /// The first pause after a connection that could not be made, and the longest. Each is a quarter shorter or longer at random: agents that have
  /// lost the same target do not all come back at the same moment.
  private static let pause = (first: 1.0, longest: 60.0)

  /// Why nobody tries to connect to a target now.
  private func pausing(_ uri: FluxURI, isUrgent: Bool) -> TargetFailure? {
    guard let found = failures[uri], let backOff = found.backOff else { return nil }
    let pause = isUrgent ? min(backOff.pause, .seconds(Self.pause.first)) : backOff.pause
    return ContinuousClock.now < backOff.last + pause ? found.failure : nil
  }

  /// A connection could not be made, or, if it was open, has ended.
  private func note(_ failure: TargetFailure, of uri: FluxURI, _ number: UInt64, wasOpen: Bool) {
    if failures.count >= 4 * Self.maximumTargets, failures[uri] == nil { failures = [:] }
    let before = failures[uri]?.backOff?.count ?? 0
    failures[uri] = Failure(number: number, failure: failure, time: OriginLog.now)
    guard !wasOpen else { return }
    let pause = min(Self.pause.first * Double(1 << min(before, 16)), Self.pause.longest)
    failures[uri]?.backOff = (before + 1, .now, .seconds(pause * Double.random(in: 0.75...1.25)))
    governor.noteConnection(uri, succeeded: false)
  }

  /// Looks at a target for what has no right to be there, as soon as it can be connected.
  func sweep(_ uri: FluxURI) {
    visits.remove(uri)
    guard sweeps.count < Self.maximumTargets || sweeps.contains(uri) else {
      return log.error("\(uri): a copy may be left there, and too many targets are to be looked at: cancel it there")
    }
    sweeps.insert(uri)
  }

  /// Connects to those of the targets where it is not known what is left there.
  func visit(_ targets: [FluxURI]) {
    let wanted = sweeps.union(targets)
    visits.formIntersection(wanted.union(slots.keys))
    // One that could not be connected last is not chosen while there are others: that it is there again has to be found out.
    for uri in wanted where !visits.contains(uri) || failures[uri]?.backOff != nil {
      if pausing(uri, isUrgent: false) == nil { open(uri) }
    }
  }

  private func begin(_ uri: FluxURI) {
    lastNumber += 1
    slots[uri] = Slot(number: lastNumber, state: .opening)
    want.yield((uri, lastNumber))
  }

  private func wait(_ uri: FluxURI, _ continuation: CheckedContinuation<FluxTarget, any Error>) {
    if case .open(let target, _) = slots[uri]?.state { return continuation.resume(returning: target) }
    if slots[uri] == nil { begin(uri) }
    waiting[uri, default: []].append(continuation)
  }

  /// Keeps the connections until cancelled.
  func run() async {
    await withDiscardingTaskGroup { group in
      for await (uri, number) in wanted { group.addTask { await self.keep(uri, number) } }
      group.cancelAll()
    }
    isStopped = true
    for (uri, slot) in slots { closed(uri, slot.number, CancellationError()) }
  }

  private func keep(_ uri: FluxURI, _ number: UInt64) async {
    let log = log
    do {
      try await FluxConnection.withConnection(to: uri, configuration: configuration, logger: log.logger) { connection in
        try await withTaskCancellationHandler {
          try await self.use(connection, uri, number)
        } onCancel: {
          connection.cancel()
        }
      }
      // Nobody has needed it.
      closed(uri, number, nil)
    } catch {
      if !(error is CancellationError) { log.warning("\(FluxTarget.failure(error, uri.description))") }
      closed(uri, number, error)
    }
  }

  /// Serves jobs over a connection until it ends, its journal does, or nobody needs it any more.
  private nonisolated func use(_ connection: FluxConnection, _ uri: FluxURI, _ number: UInt64) async throws {
    let journal = TargetJournal(connection, origin: origin)
    let target = try await FluxTarget.probe(connection, journal: journal, within: probeTimeout)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { throw await journal.run() }
      group.addTask {
        try await journal.waitUntilReady()
        await self.opened(uri, number, target)
        try await self.waitUntilIdle(uri, number)
      }
      group.addTask {
        await connection.waitForClose()
        throw TargetFailure("\(uri): the connection was lost", isTransient: true)
      }
      group.addTask { try await self.watchStrays(journal, uri) }
      group.addTask {
        try await Task.sleep(for: Self.backlogTime)
        if await journal.isReady { return try await Task.sleep(for: .seconds(1 << 31)) }
        throw TargetFailure("\(uri): does not tell of its active jobs within \(Self.backlogTime)", isTransient: true)
      }
      defer { connection.cancel() }
      try await group.next()
      group.cancelAll()
    }
  }

  /// How long a job may be at a target without being followed before it is asked about, and how often that is.
  private static let strayTime = Duration.seconds(10)
  /// How many times as long as for its first answer a target may take for a later one: it may be busy.
  private static let silence = 6

  /// Asks about jobs that nobody follows: what outlived the agent that has sent it may be there beside the copy that is on record, or its job may
  /// have been cancelled when no agent was there.
  private nonisolated func watchStrays(_ journal: TargetJournal, _ uri: FluxURI) async throws {
    try await journal.waitUntilReady()
    while true {
      try await Task.sleep(for: Self.strayTime)
      for stray in await journal.strays(since: Self.strayTime) { sink.yield(.stray(stray, at: uri)) }
      // A connection may be dead and not show it: a network that has gone away says nothing. Then it is given up, and what is followed over it
      // is followed over another one.
      try await journal.ping(within: probeTimeout * Self.silence)
      if await journal.hasNoStrays, await !visits.contains(uri) { await visited(uri) }
    }
  }

  private func visited(_ uri: FluxURI) {
    sweeps.remove(uri)
    if visits.count < 4 * Self.maximumTargets { visits.insert(uri) }
  }

  private func opened(_ uri: FluxURI, _ number: UInt64, _ target: FluxTarget) {
    guard let slot = slots[uri], slot.number == number, case .opening = slot.state else { return }
    slots[uri]?.state = .open(target, lastUse: .now)
    failures[uri]?.backOff = nil
    governor.noteConnection(uri, succeeded: true)
    for continuation in waiting.removeValue(forKey: uri) ?? [] { continuation.resume(returning: target) }
    sink.yield(.reachable(uri))
  }

  private func closed(_ uri: FluxURI, _ number: UInt64, _ error: (any Error)?) {
    guard let slot = slots[uri], slot.number == number else { return }
    slots[uri] = nil
    guard let error else { return }
    var wasOpen = false
    if case .open = slot.state { wasOpen = true }
    note(FluxTarget.failure(error, uri.description), of: uri, number, wasOpen: wasOpen)
    for continuation in waiting.removeValue(forKey: uri) ?? [] { continuation.resume(throwing: error) }
  }

  /// Returns when nobody has used the connection for a while, or when it is not the target's any more.
  private func waitUntilIdle(_ uri: FluxURI, _ number: UInt64) async throws {
    while true {
      try await Task.sleep(for: Self.idleTime / 5)
      guard let slot = slots[uri], slot.number == number, case .open(let target, let lastUse) = slot.state else {
        return
      }
      let isIdle = await target.journal.isIdle
      if isIdle, lastUse.duration(to: .now) > Self.idleTime { return }
    }
  }
}
