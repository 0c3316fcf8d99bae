// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire

/// Finds jobs at a target by their marks.
///
/// After an agent's restart thousands of jobs are looked for at once. Those that ask while a search is under way are all answered by
/// the next one, and a remote job's jobspec is read once: the cost is that of the target's jobs, not of their product with ours.
///
/// A copy that has ended before it was released is none: it has never run and never will. A target may have refused the submission and have it
/// on record all the same, for its disk was full.
actor MarkFinder {
  /// How far the clocks of origin and target may differ, in seconds: an hour.
  private static let clockTolerance = 3600.0
  /// How many jobspecs are read at once.
  private static let searchWidth = 64
  /// The most bytes of a jobspec that is read beside others; a longer one is read alone.
  private static let maximumLength = 1 << 20
  /// What of a listing may wait to be read: so many responses, and so many bytes.
  private static let buffering = RPCStream.Buffering.bounded(1 << 16, bytes: 64 << 20)

  /// What a target may do while it is searched. Beyond that it cannot be seen.
  struct Limits: Sendable {
    /// The most jobs that it may list, in as many responses; and how many are remembered: beyond it the memory starts anew.
    var jobs = 200_000
    /// How long it may say nothing while it lists its jobs.
    var idle = Duration.seconds(60)
    /// How long that may take.
    var total = Duration.seconds(600)
  }

  private struct Key: Hashable {
    var id: JobID
    var submitted: Double

    init(_ mark: Mark) {
      id = mark.id
      submitted = mark.submitted
    }
  }

  /// A job of the target's, as it lists it.
  private struct Listed {
    var id: JobID
    var hasRun: Bool
    var isReleased: Bool
    var isActive: Bool

    init?(_ json: JSON) {
      guard let id = JobID(json["id"]) else { return nil }
      self.id = id
      hasRun = json["t_run"]?.doubleValue != nil
      isReleased = json["urgency"]?.intValue != 0
      isActive = json["state"]?.intValue != Int64(JobState.inactive.rawValue)
    }
  }

  /// A job with a mark, and how much speaks for it among several.
  private struct Found {
    var copy: FluxTarget.Copy
    var hasRun: Bool
    var isReleased: Bool
    var isActive: Bool

    init(_ mark: Mark, _ listed: Listed) {
      copy = FluxTarget.Copy(id: listed.id, attempt: mark.attempt)
      hasRun = listed.hasRun
      isReleased = listed.isReleased
      isActive = listed.isActive
    }

    var isDead: Bool { !isActive && !hasRun && !isReleased }

    /// The latest attempt; of that one which has run, may run, or waits at least.
    func isBetter(than other: Found?) -> Bool {
      guard let other else { return true }
      return rank.lexicographicallyPrecedes(other.rank, by: >)
    }

    private var rank: [Int] { [copy.attempt, hasRun ? 1 : 0, isReleased ? 1 : 0, isActive ? 1 : 0] }
  }

  private let connection: FluxConnection
  private let userID: UInt32
  /// What was found by the last search.
  private var copies: [Key: Found] = [:]
  /// The marks of the jobs that have been read; nil for a job without one.
  private var marks: [JobID: Mark?] = [:]
  private var waiting: [(Mark, CheckedContinuation<FluxTarget.Copy?, any Error>)] = []
  private var isSearching = false
  private let limits: Limits
  /// Lets those through that read a long jobspec.
  private let alone = Gate(1)

  init(_ connection: FluxConnection, userID: UInt32, limits: Limits = Limits()) {
    self.connection = connection
    self.userID = userID
    self.limits = limits
  }

  func copy(of mark: Mark) async throws -> FluxTarget.Copy? {
    if isSearching { return try await withCheckedThrowingContinuation { waiting.append((mark, $0)) } }
    isSearching = true
    defer { isSearching = false }
    let own: Result<FluxTarget.Copy?, any Error>
    do {
      try await search(since: mark.submitted)
      own = .success(copies[Key(mark)]?.copy)
    } catch { own = .failure(error) }
    while !waiting.isEmpty { await answer() }
    return try own.get()
  }

  /// One search for all who wait.
  private func answer() async {
    let batch = waiting
    waiting = []
    do {
      try await search(since: batch.map(\.0.submitted).min() ?? 0)
      for (mark, continuation) in batch { continuation.resume(returning: copies[Key(mark)]?.copy) }
    } catch {
      for (_, continuation) in batch { continuation.resume(throwing: error) }
    }
  }

  /// Looks at the jobs that have come since, and reads the marks of those that are not known yet.
  private func search(since submitted: Double) async throws {
    let found = try await list(since: submitted)
    if marks.count + found.count > limits.jobs { marks = [:] }
    var rest = found.map(\.id).filter { marks[$0] == nil }[...]
    while !rest.isEmpty {
      try await read(rest.prefix(Self.searchWidth))
      rest = rest.dropFirst(Self.searchWidth)
    }
    // How they fare changes: a copy that was there at the last search may be over.
    copies = [:]
    for listed in found {
      guard case .some(.some(let mark)) = marks[listed.id] else { continue }
      let copy = Found(mark, listed)
      if !copy.isDead, copy.isBetter(than: copies[Key(mark)]) { copies[Key(mark)] = copy }
    }
  }

  private func list(since submitted: Double) async throws -> [Listed] {
    let constraint: JSON = [
      "and": [
        ["userid": [.int(Int64(userID))]], ["t_submit": [.string(">=\(max(0, submitted - Self.clockTolerance))")]],
      ]
    ]
    let request: JSON = [
      "max_entries": 0, "attrs": ["t_submit", "t_run", "urgency", "state"], "since": 0.0, "constraint": constraint,
    ]
    let stream = await connection.stream("job-list.list", request, buffering: Self.buffering)
    let watch = IdleWatch()
    let (peer, maximum) = (connection.peer, limits.jobs)
    return try await watch.run(idle: limits.idle, total: limits.total, "\(peer): lists its jobs") {
      var found: [Listed] = []
      var responses = 0
      for try await response in stream {
        watch.touch()
        responses += 1
        let jobs = try response.json()?["jobs"]?.arrayValue ?? []
        guard found.count + jobs.count <= maximum, responses <= maximum else {
          throw ConnectionError(.limit, "\(peer): lists more than \(maximum) jobs")
        }
        found += jobs.compactMap { Listed($0) }
      }
      return found
    }
  }

  private func read(_ ids: ArraySlice<JobID>) async throws {
    let (connection, alone) = (connection, alone)
    let read = try await withThrowingTaskGroup(of: (JobID, Mark?).self) { group in
      for id in ids { group.addTask { (id, try await Self.mark(of: id, connection, alone)) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (id, mark) in read { marks.updateValue(mark, forKey: id) }
  }

  private static func mark(of id: JobID, _ connection: FluxConnection, _ alone: Gate) async throws -> Mark? {
    let request: JSON = ["id": id.json, "keys": ["jobspec"], "flags": 0]
    do {
      let answer: JSON
      do { answer = try await connection.rpc("job-info.lookup", request, maximumLength: maximumLength) } catch let error
        as ConnectionError where error.code == .limit
      {
        return try await alone.run { mark(in: try await connection.rpc("job-info.lookup", request)) }
      }
      return mark(in: answer)
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      return nil
    }
  }

  private static func mark(in answer: JSON) -> Mark? {
    guard let text = answer["jobspec"]?.stringValue, let jobspec = try? JSON(parsing: text) else { return nil }
    return Mark(jobspec: jobspec)
  }
}
