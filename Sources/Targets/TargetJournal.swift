// SPDX-License-Identifier: LGPL-3.0-only

public import Delegation
public import FluxConnection
public import FluxJob
import FluxWire

/// What happens to the jobs of a target, from the one journal of its job manager (`job-manager.events-journal`).
///
/// One stream carries the events of all jobs, so that a job that waits costs nothing. What it says of a job that bears this origin's mark is
/// kept until somebody follows the job: between its acceptance and its being followed nothing is missed.
public actor TargetJournal {
  /// Takes what has happened to a remote job. Of remote events it says when it has taken them: ``Backlog/take(_:)``.
  public typealias Listener = @Sendable (DelegatedJob.Event) -> Void

  /// The most jobs that are kept track of before somebody follows them; the oldest go first, and are looked up when they are followed.
  public static let maximumUnclaimed = 8192
  /// The most bytes that are kept of all of them together.
  private static let maximumKept = 64 << 20
  /// How many look-ups of jobs that the journal says nothing of are under way at once.
  private static let lookupWidth = 32

  private struct Follow {
    /// Which one: the same job may be followed again while its past is still looked up.
    let number: UInt64
    var listener: Listener
    var resources: RemoteResources?
    var hasEnded = false
    /// What has come while the past is being looked up; nil when it is not.
    var later: KeptEvents?
    /// Ended with the remote job.
    var waiting: [AsyncStream<Never>.Continuation] = []
  }

  /// A job that this origin has sent, that has not ended, and that nobody follows.
  public struct Stray: Hashable, Sendable {
    /// Its id at the target.
    public var id: JobID
    /// Whose copy it is.
    public var mark: Mark
    /// Whether it waits for nothing but its release: it has never run.
    public var isHeld: Bool
  }

  /// How much of what was told is still to be taken.
  public nonisolated let backlog = Backlog()
  private let connection: FluxConnection
  /// The `origin` of the marks whose jobs are kept.
  private let origin: String
  private var follows: [JobID: Follow] = [:]
  private var unclaimed: [JobID: UnclaimedJob] = [:]
  /// How many bytes are kept of them.
  private var keptSize = 0
  private let maximumKept: Int
  private var lastFollow: UInt64 = 0
  /// The ids in `unclaimed`, oldest first; may name jobs that were claimed since.
  private var order: [JobID] = []
  /// Jobs that were followed to their end, the last few thousand.
  private var ended: Set<JobID> = []
  /// Whether all jobs that were active when the journal was opened are known.
  public private(set) var isReady = false
  private var failure: TargetFailure?
  private var readyWaiters: [CheckedContinuation<Void, any Error>] = []
  private let gate = Gate(lookupWidth)

  /// A journal; ``run()`` opens it.
  public init(_ connection: FluxConnection, origin: String) {
    self.init(connection, origin: origin, maximumKept: Self.maximumKept)
  }

  /// One that keeps so many bytes of the jobs that nobody follows.
  init(_ connection: FluxConnection, origin: String, maximumKept: Int) {
    self.connection = connection
    self.origin = origin
    self.maximumKept = maximumKept
  }

  // MARK: The stream

  /// The events that are asked for. Others change nothing, and are not kept if they come all the same.
  private static let names: Set = ["submit", "urgency", "alloc", "start", "memo", "exception", "finish", "clean"]
  /// How many messages of the journal may wait to be read, and how many bytes: beyond that the target is made to wait. A target that has many
  /// active jobs tells of all of them at once.
  private static let buffering = RPCStream.Buffering.pausing(4096, bytes: 16 << 20)

  /// Follows the target until its journal ends, and tells all listeners that it has.
  ///
  /// - Returns: why it has.
  public func run() async -> TargetFailure {
    var allow = JSONObject()
    for name in Self.names { allow[name] = 1 }
    do {
      let stream = await connection.stream(
        "job-manager.events-journal", ["full": false, "allow": .object(allow)],
        cancelTopic: "job-manager.events-journal-cancel", buffering: Self.buffering)
      for try await response in stream {
        // What cannot be read, for it is nested too deeply, is of one job: the others go on.
        if let told = try? response.json() { take(told) }
        await backlog.waitForRoom()
      }
      return stop(TargetFailure("\(connection.peer): its job manager has ended the journal", isTransient: true))
    } catch let error as RPCError where error.errnum == Errnum.notPermitted.rawValue {
      return stop(
        TargetFailure(
          "\(connection.peer): does not let this user follow its jobs: only the owner of an instance may",
          isTransient: false))
    } catch { return stop(FluxTarget.failure(error, connection.peer)) }
  }

  /// Returns when all jobs that are active at the target are known.
  public func waitUntilReady() async throws {
    if let failure { throw failure }
    guard !isReady else { return }
    try await withCheckedThrowingContinuation { readyWaiters.append($0) }
  }

  private func take(_ told: JSON) {
    guard let number = told["id"]?.intValue else { return }
    // The sentinel at the end of the backlog: FLUX_JOBID_ANY.
    guard number != -1 else { return ready() }
    let id = JobID(rawValue: UInt64(bitPattern: number))
    let events = (told["events"]?.arrayValue ?? []).compactMap { try? EventlogEntry($0) }
      .filter { Self.names.contains($0.name) }
    if follows[id] != nil {
      if let resources = told["R"] { follows[id]?.resources = RemoteResources(told: resources) }
      return deliver(id, events)
    }
    if unclaimed[id] == nil {
      guard let jobspec = told["jobspec"], let mark = Mark(jobspec: jobspec) else { return }
      // Of what was there before, a job with another mark may be of this origin as well: it has another address since it was restarted.
      guard mark.origin == origin || !isReady else { return }
      keep(id, mark)
    }
    keptSize -= unclaimed[id]?.kept.size ?? 0
    unclaimed[id]?.add(events)
    if let resources = told["R"] { unclaimed[id]?.kept.add(RemoteResources(told: resources)) }
    if keptSize + (unclaimed[id]?.kept.size ?? 0) > maximumKept { unclaimed[id]?.kept.drop() }
    keptSize += unclaimed[id]?.kept.size ?? 0
  }

  @discardableResult private func claim(_ id: JobID) -> UnclaimedJob? {
    guard let job = unclaimed.removeValue(forKey: id) else { return nil }
    keptSize -= job.kept.size
    return job
  }

  private func ready() {
    isReady = true
    for waiter in readyWaiters { waiter.resume() }
    readyWaiters = []
  }

  /// The job with a mark among those that nobody has followed yet. Unlike a list of jobs, the journal knows them at once.
  public func unfollowed(_ mark: Mark) -> JobID? {
    unclaimed.first { $0.value.mark.names(sameJobAs: mark) && !$0.value.isDead }?.key
  }

  /// The most strays that are asked about at once.
  private static let maximumStrays = 256

  /// The jobs that have not ended, and that nobody has followed for so long; at most 256 at once, and each after twice the time again.
  public func strays(since age: Duration) -> [Stray] {
    let now = ContinuousClock.now
    var found: [Stray] = []
    for (id, job) in unclaimed where found.count < Self.maximumStrays {
      guard now - job.since > age * job.patience, !job.isOver else { continue }
      found.append(Stray(id: id, mark: job.mark, isHeld: job.isHeld))
    }
    for stray in found {
      unclaimed[stray.id]?.since = now
      // Read first: in one statement the two accesses would overlap, which ends the process.
      let patience = unclaimed[stray.id]?.patience ?? 1
      unclaimed[stray.id]?.patience = min(patience * 2, 64)
    }
    return found
  }

  /// Whether nobody has to be asked about any job, now or later.
  public var hasNoStrays: Bool { unclaimed.allSatisfy(\.value.isOver) }

  /// Makes sure that the target is there.
  public func ping(within limit: Duration) async throws {
    try await connection.rpc("attr.get", ["name": "security.owner"], timeout: limit)
  }

  /// A job is its owner's, and nobody has to ask for it any more.
  public func forget(_ id: JobID) { claim(id) }

  private func keep(_ id: JobID, _ mark: Mark) {
    unclaimed[id] = UnclaimedJob(mark)
    order.append(id)
    guard order.count > 2 * Self.maximumUnclaimed else { return }
    order = order.filter { unclaimed[$0] != nil }
    for id in order.dropLast(Self.maximumUnclaimed) { claim(id) }
    order = order.suffix(Self.maximumUnclaimed)
  }

  @discardableResult private func stop(_ failure: TargetFailure) -> TargetFailure {
    self.failure = failure
    for waiter in readyWaiters { waiter.resume(throwing: failure) }
    readyWaiters = []
    for follow in follows.values {
      follow.listener(.lost(failure))
      for waiting in follow.waiting { waiting.finish() }
    }
    follows = [:]
    unclaimed = [:]
    keptSize = 0
    return failure
  }

  // MARK: Following

  /// Tells a listener of all that has happened to a job, and of all that will, until the job is over.
  public func follow(_ id: JobID, _ listener: @escaping Listener) async {
    if let failure { return listener(.lost(failure)) }
    for waiting in follows[id]?.waiting ?? [] { waiting.finish() }
    lastFollow += 1
    follows[id] = Follow(number: lastFollow, listener: listener)
    guard let known = claim(id)?.kept, known.isWhole else {
      return await catchUp(id, lastFollow)
    }
    follows[id]?.resources = known.resources
    listener(.following)
    deliver(id, known.events)
  }

  /// Looks up what has happened to a job before it was followed.
  private func catchUp(_ id: JobID, _ number: UInt64) async {
    follows[id]?.later = KeptEvents()
    do {
      var (events, resources) = try await gate.run { try await self.lookUp(id) }
      if resources == nil, follows[id]?.resources == nil,
        follows[id]?.later?.events.contains(where: { $0.name == "start" }) == true
      {
        resources = try await resourcesOf(id)
      }
      // Nobody wants to know any more, or it is followed anew.
      guard let follow = follows[id], follow.number == number, let later = follow.later else { return }
      guard later.isWhole else {
        let words = "\(connection.peer) tells more of job \(id) than can be kept while it is looked up"
        return lose(id, TargetFailure(words, isTransient: true))
      }
      events += later.events
      follows[id]?.later = nil
      if let resources { follows[id]?.resources = resources }
      follow.listener(.following)
      deliver(id, events)
    } catch {
      guard follows[id]?.number == number else { return }
      guard let error = error as? RPCError, error.errnum == Errnum.noEntry.rawValue else {
        return lose(id, FluxTarget.failure(error, connection.peer))
      }
      lose(id, TargetFailure("\(connection.peer) does not know job \(id) any more", isTransient: true))
    }
  }

  private func lose(_ id: JobID, _ failure: TargetFailure) {
    guard let follow = follows.removeValue(forKey: id) else { return }
    for waiting in follow.waiting { waiting.finish() }
    follow.listener(.lost(failure))
  }

  /// The most of a job's eventlog, or of its R, that is read, in bytes.
  private static let maximumLookup = 16 << 20

  private func lookUp(_ id: JobID) async throws -> ([EventlogEntry], RemoteResources?) {
    let request: JSON = ["id": id.json, "keys": ["eventlog"], "flags": 0]
    let answer = try await connection.rpc("job-info.lookup", request, maximumLength: Self.maximumLookup)
    let events = try Eventlog(parsing: answer["eventlog"]?.stringValue ?? "").entries
      .filter { Self.names.contains($0.name) }
    guard events.contains(where: { $0.name == "start" }) else { return (events, nil) }
    return (events, try await resourcesOf(id))
  }

  private func resourcesOf(_ id: JobID) async throws -> RemoteResources {
    let request: JSON = ["id": id.json, "keys": ["R"], "flags": 0]
    do {
      let found = try await connection.rpc("job-info.lookup", request, maximumLength: Self.maximumLookup)
      return RemoteResources(told: try? JSON(parsing: found["R"]?.stringValue ?? ""))
    } catch let error as ConnectionError where error.code == .limit { return RemoteResources(told: nil) }
  }

  /// Whether nobody follows a job of this target.
  public var isIdle: Bool { follows.isEmpty }

  /// Tells nothing more of a job.
  public func unfollow(_ id: JobID) {
    for waiting in follows.removeValue(forKey: id)?.waiting ?? [] { waiting.finish() }
  }

  private func deliver(_ id: JobID, _ entries: [EventlogEntry]) {
    guard let follow = follows[id] else { return }
    guard follow.later == nil else {
      for entry in entries { follows[id]?.later?.add(entry) }
      return
    }
    let events = entries.compactMap { Self.event($0, follow.resources) }
    if events.contains(where: \.isEnd) {
      follows[id]?.hasEnded = true
      for waiting in follow.waiting { waiting.finish() }
      follows[id]?.waiting = []
    }
    if events.contains(.over) {
      follows[id] = nil
      // For its output, which may not have been asked for yet.
      if ended.count > Self.maximumUnclaimed { ended = [] }
      ended.insert(id)
    }
    guard !events.isEmpty else { return }
    backlog.add(events.count)
    follow.listener(.remote(events))
  }

  private static func event(_ entry: EventlogEntry, _ resources: RemoteResources?) -> RemoteEvent? {
    let context = entry.context
    switch entry.name {
    case "submit", "urgency": return context?["urgency"]?.intValue.map { .urgency(Int($0)) }
    case "start": return resources.map { .started(at: entry.timestamp, $0) }
    case "memo": return context.flatMap { RemoteEvent(memo: $0) }
    case "exception" where context?["severity"]?.intValue == 0:
      let words = ["type", "note"].map { context?[$0]?.stringValue?.cut(to: String.maximumWordsLength) }
      return .exception(type: words[0] ?? "exec", note: words[1] ?? "")
    case "finish":
      let status = WaitStatus(rawValue: Int32(truncatingIfNeeded: context?["status"]?.intValue ?? 0))
      return .finished(at: entry.timestamp, status)
    case "clean": return .over
    default: return nil
    }
  }

  // MARK: The end of a job

  /// Waits until a followed job's processes have ended, at most so long.
  ///
  /// - Returns: whether they have; false for a job that was never followed here.
  public func waitForEnd(of id: JobID, within limit: Duration) async -> Bool {
    guard let follow = follows[id], !follow.hasEnded else { return hasEnded(id) }
    let (stream, continuation) = AsyncStream<Never>.makeStream()
    follows[id]?.waiting.append(continuation)
    return await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        for await _ in stream {}
        return true
      }
      group.addTask {
        try? await Task.sleep(for: limit)
        return false
      }
      defer { group.cancelAll() }
      _ = await group.next()
      return self.hasEnded(id)
    }
  }

  private func hasEnded(_ id: JobID) -> Bool {
    failure == nil && (follows[id]?.hasEnded ?? ended.contains(id))
  }
}

extension RemoteEvent {
  /// Whether no process of the job runs any more.
  fileprivate var isEnd: Bool {
    switch self {
    case .finished, .over: true
    default: false
    }
  }
}
