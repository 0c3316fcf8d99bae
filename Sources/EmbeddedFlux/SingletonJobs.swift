// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The dependency `singleton`: of the jobs with one name that wait so, the first goes on when all other active jobs of that name do so too. Pure.
struct SingletonJobs {
  /// How many active jobs have a name, waiting or not.
  private var counts: [String: Int] = [:]
  /// Those that wait, in order of submission.
  private var waiting: [String: [JobID]] = [:]

  /// Whether a job of this name has to wait.
  func isTaken(_ name: String) -> Bool { counts[name] != nil }

  /// A job of this name is there.
  mutating func add(_ name: String) { counts[name, default: 0] += 1 }

  /// A job waits for all others of its name. Returns who need not wait any more.
  mutating func wait(_ id: JobID, _ name: String) -> JobID? {
    waiting[name, default: []].append(id)
    return next(name)
  }

  /// A job has ended. Returns who need not wait any more.
  mutating func remove(_ id: JobID, _ name: String) -> JobID? {
    if waiting[name] != nil { waiting[name]?.removeAll { $0 == id } }
    if waiting[name]?.isEmpty == true { waiting[name] = nil }
    let left = (counts[name] ?? 1) - 1
    counts[name] = left > 0 ? left : nil
    return next(name)
  }

  private mutating func next(_ name: String) -> JobID? {
    guard let first = waiting[name]?.first, waiting[name]?.count == counts[name] else { return nil }
    waiting[name]?.removeFirst()
    if waiting[name]?.isEmpty == true { waiting[name] = nil }
    return first
  }
}
