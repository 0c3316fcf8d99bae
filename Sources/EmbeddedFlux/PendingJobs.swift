// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The jobs that wait for resources: by priority, then in order of submission. Pure.
///
/// A sorted array whose front is not moved when the first goes: to take the first, and to add one behind all others, costs the same
/// however many wait; others are found by halving.
struct PendingJobs {
  private var entries: [Scheduler.Request?] = []
  /// Where the first is; what is before has gone.
  private var head = 0
  /// The priority that a job came in with.
  private var priorities: [JobID: Int64] = [:]

  var count: Int { entries.count - head }
  var isEmpty: Bool { count == 0 }

  /// The one to be served next.
  var first: Scheduler.Request? { head < entries.count ? entries[head] : nil }

  /// The first so many, in order.
  func prefix(_ count: Int) -> [Scheduler.Request] { entries[head...].prefix(count).compactMap { $0 } }

  func contains(_ id: JobID) -> Bool { priorities[id] != nil }

  /// Adds a job, in the place that its priority gives it. One that is there already moves.
  mutating func insert(_ request: Scheduler.Request) {
    remove(request.id)
    entries.insert(request, at: index(of: request.rank))
    priorities[request.id] = request.priority
  }

  /// Takes a job out, wherever it is.
  mutating func remove(_ id: JobID) {
    guard let priority = priorities.removeValue(forKey: id) else { return }
    let index = index(of: Scheduler.Rank(priority: priority, id: id))
    guard index < entries.count, entries[index]?.id == id else { return }
    if index == head { removeHead() } else { entries.remove(at: index) }
  }

  private mutating func removeHead() {
    entries[head] = nil
    head += 1
    guard head > 1024, head > entries.count / 2 else { return }
    entries.removeFirst(head)
    head = 0
  }

  /// Where a rank is, or would be.
  private func index(of rank: Scheduler.Rank) -> Int {
    var low = head
    var high = entries.count
    // A new job mostly goes behind all others.
    if let last = entries.last ?? nil, last.rank < rank { return high }
    while low < high {
      let middle = (low + high) / 2
      if let found = entries[middle]?.rank, found < rank { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
