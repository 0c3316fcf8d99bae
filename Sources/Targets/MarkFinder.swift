// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire

/// Finds jobs at a target by their marks.
///
/// After an agent's restart thousands of jobs are looked for at once. Those that ask while a search is under way are all answered by
/// the next one, and a remote job's jobspec is read once: the cost is that of the target's jobs, not of their product with ours.
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

    /// The latest attempt; of that one which has run, may run, or waits at least.
    func isBetter(than other: Found?) -> Bool {
      guard let other else { return true }
      return rank.lexicographicallyPrecedes(other.rank, by: >)
    }

    private var rank: [Int] { [copy.attempt, hasRun ? 1 : 0, isReleased ? 1 : 0, isActive ? 1 : 0] }
  }

  private let connection: FluxConnection
  private let userID: UInt32
  private var marks: [Key: Found] = [:]
  private var known: Set<JobID> = []
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
      own = .success(marks[Key(mark)]?.copy)
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
      for (mark, continuation) in batch { continuation.resume(returning: marks[Key(mark)]?.copy) }
    } catch {
      for (_, continuation) in batch { continuation.resume(throwing: error) }
    }
  }

  /// Reads the marks of the jobs that have come since, and are not known yet.
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
    if known.count + found.count > Self.maximumKnown {
      known = []
      marks = [:]
    }
    var rest = found.filter { !known.contains($0.id) }[...]
    while !rest.isEmpty {
      try await read(rest.prefix(Self.searchWidth))
      rest = rest.dropFirst(Self.searchWidth)
    }
  }

  private func read(_ jobs: ArraySlice<(id: JobID, listed: JSON)>) async throws {
    let connection = connection
    let read = try await withThrowingTaskGroup(of: (JobID, JSON, Mark?).self) { group in
      for job in jobs { group.addTask { (job.id, job.listed, try await Self.mark(of: job.id, connection)) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for (id, listed, mark) in read {
      known.insert(id)
      guard let mark else { continue }
      let found = Found(
        copy: FluxTarget.Copy(id: id, attempt: mark.attempt), hasRun: listed["t_run"]?.doubleValue != nil,
        isReleased: listed["urgency"]?.intValue != 0,
        isActive: listed["state"]?.intValue != Int64(JobState.inactive.rawValue))
      if found.isBetter(than: marks[Key(mark)]) { marks[Key(mark)] = found }
    }
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
