// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The jobs that wait for resources: by priority, then in order of submission. Pure.
///
/// A sorted array whose front is not moved when the first goes: to take the first, and to add one behind all others, costs the same
/// however many wait; others are found by halving.
struct PendingJobs {
  private struct Key: Comparable {
    var priority: Int64
    var id: JobID

    static func < (left: Key, right: Key) -> Bool {
      left.priority > right.priority || (left.priority == right.priority && left.id < right.id)
    }
  }

  private var entries: [(key: Key, job: Job)?] = []
  /// Where the first is; what is before has gone.
  private var head = 0
  /// The priority that a job came in with: its own may have changed since.
  private var priorities: [JobID: Int64] = [:]

  var count: Int { entries.count - head }
  var isEmpty: Bool { count == 0 }

  /// The one to be served next.
  var first: Job? { head < entries.count ? entries[head]?.job : nil }

  func contains(_ job: Job) -> Bool { priorities[job.id] != nil }

  /// Adds a job, in the place that its priority gives it. One that is there already moves.
  mutating func insert(_ job: Job) {
    remove(job)
    let key = Key(priority: job.priority, id: job.id)
    entries.insert((key, job), at: index(of: key))
    priorities[job.id] = job.priority
  }

  /// Takes a job out, wherever it is.
  mutating func remove(_ job: Job) {
    guard let priority = priorities.removeValue(forKey: job.id) else { return }
    let index = index(of: Key(priority: priority, id: job.id))
    guard index < entries.count, entries[index]?.job === job else { return }
    if index == head { removeHead() } else { entries.remove(at: index) }
  }

  private mutating func removeHead() {
    entries[head] = nil
    head += 1
    guard head > 1024, head > entries.count / 2 else { return }
    entries.removeFirst(head)
    head = 0
  }

  /// Where a key is, or would be.
  private func index(of key: Key) -> Int {
    var low = head
    var high = entries.count
    // A new job mostly goes behind all others.
    if let last = entries.last ?? nil, last.key < key { return high }
    while low < high {
      let middle = (low + high) / 2
      if let found = entries[middle]?.key, found < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
