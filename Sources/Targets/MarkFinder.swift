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
  /// How many remote jobs are remembered. Beyond it the memory starts anew.
  private static let maximumKnown = 200_000

  private struct Key: Hashable {
    var id: JobID
    var submitted: Double

    init(_ mark: Mark) {
      id = mark.id
      submitted = mark.submitted
    }
  }

  /// A job with a mark, and how much speaks for it among several.
  private struct Found {
    var copy: FluxTarget.Copy
    var hasRun: Bool
    var isReleased: Bool
    var isActive: Bool

    init(_ mark: Mark, _ id: JobID, _ listed: JSON) {
      copy = FluxTarget.Copy(id: id, attempt: mark.attempt)
      hasRun = listed["t_run"]?.doubleValue != nil
      isReleased = listed["urgency"]?.intValue != 0
      isActive = listed["state"]?.intValue != Int64(JobState.inactive.rawValue)
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

  init(_ connection: FluxConnection, userID: UInt32) {
    self.connection = connection
    self.userID = userID
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
    let constraint: JSON = [
      "and": [
        ["userid": [.int(Int64(userID))]], ["t_submit": [.string(">=\(max(0, submitted - Self.clockTolerance))")]],
      ]
    ]
    let request: JSON = [
      "max_entries": 0, "attrs": ["t_submit", "t_run", "urgency", "state"], "since": 0.0, "constraint": constraint,
    ]
    var found: [(id: JobID, listed: JSON)] = []
    for try await response in await connection.stream("job-list.list", request) {
      found += (try response.json()?["jobs"]?.arrayValue ?? []).compactMap { job in JobID(job["id"]).map { ($0, job) } }
    }
    if marks.count + found.count > Self.maximumKnown { marks = [:] }
    var rest = found.map(\.id).filter { marks[$0] == nil }[...]
    while !rest.isEmpty {
      try await read(rest.prefix(Self.searchWidth))
      rest = rest.dropFirst(Self.searchWidth)
    }
    // How they fare changes: a copy that was there at the last search may be over.
    copies = [:]
    for (id, listed) in found {
      guard case .some(.some(let mark)) = marks[id] else { continue }
      let copy = Found(mark, id, listed)
      if !copy.isDead, copy.isBetter(than: copies[Key(mark)]) { copies[Key(mark)] = copy }
    }
  }

  private func read(_ ids: ArraySlice<JobID>) async throws {
    let connection = connection
    let read = try await withThrowingTaskGroup(of: (JobID, Mark?).self) { group in
      for id in ids { group.addTask { (id, try await Self.mark(of: id, connection)) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (id, mark) in read { marks.updateValue(mark, forKey: id) }
  }

  private static func mark(of id: JobID, _ connection: FluxConnection) async throws -> Mark? {
    do {
      let answer = try await connection.rpc("job-info.lookup", ["id": id.json, "keys": ["jobspec"], "flags": 0])
      guard let text = answer["jobspec"]?.stringValue, let jobspec = try? JSON(parsing: text) else { return nil }
      return Mark(jobspec: jobspec)
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      return nil
    }
  }
}
