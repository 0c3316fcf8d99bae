// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The jobs that wait for resources: by priority, then in order of submission. Pure.
///
/// Sorted arrays of a bounded size, one after another: whoever comes or goes, wherever that is, moves few others, however many wait.
struct PendingJobs {
  /// How many jobs are in one part at most.
  private static let maximumPart = 512

  /// The parts, in order; none is empty.
  private var parts: [[Scheduler.Request]] = []
  /// The priority that a job came in with.
  private var priorities: [JobID: Int64] = [:]

  var count: Int { priorities.count }
  var isEmpty: Bool { parts.isEmpty }

  /// The one to be served next.
  var first: Scheduler.Request? { parts.first?.first }

  /// The first so many, in order.
  func prefix(_ count: Int) -> [Scheduler.Request] {
    var found: [Scheduler.Request] = []
    for part in parts {
      found += part.prefix(count - found.count)
      if found.count == count { break }
    }
    return found
  }

  func contains(_ id: JobID) -> Bool { priorities[id] != nil }

  /// Adds a job, in the place that its priority gives it. One that is there already moves.
  mutating func insert(_ request: Scheduler.Request) {
    remove(request.id)
    priorities[request.id] = request.priority
    guard !parts.isEmpty else { return parts.append([request]) }
    let part = part(of: request.rank)
    parts[part].insert(request, at: Self.place(of: request.rank, in: parts[part]))
    if parts[part].count > Self.maximumPart { split(part) }
  }

  /// Takes a job out, wherever it is.
  mutating func remove(_ id: JobID) {
    guard let priority = priorities.removeValue(forKey: id) else { return }
    let rank = Scheduler.Rank(priority: priority, id: id)
    let part = part(of: rank)
    let place = Self.place(of: rank, in: parts[part])
    guard place < parts[part].count, parts[part][place].id == id else { return }
    parts[part].remove(at: place)
    if parts[part].isEmpty { parts.remove(at: part) }
  }

  private mutating func split(_ part: Int) {
    let half = parts[part].count / 2
    parts.insert(Array(parts[part][half...]), at: part + 1)
    parts[part].removeSubrange(half...)
  }

  /// The part where a rank is, or would be: the first that does not end before it, or the last.
  private func part(of rank: Scheduler.Rank) -> Int {
    var low = 0
    var high = parts.count - 1
    while low < high {
      let middle = (low + high) / 2
      if let last = parts[middle].last, last.rank < rank { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Where a rank is in a part, or would be.
  private static func place(of rank: Scheduler.Rank, in part: [Scheduler.Request]) -> Int {
    var low = 0
    var high = part.count
    while low < high {
      let middle = (low + high) / 2
      if part[middle].rank < rank { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
