// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The owners' own account of their jobs.
actor Ledger {
  struct Entry: Sendable {
    var plan: JobPlan
    /// Nil: there was no answer.
    var id: JobID?
    /// When it was submitted, in seconds since the epoch.
    var time: Double
    var wasGivenUp = false
  }

  private(set) var entries: [Entry] = []
  private(set) var refusals: [String] = []
  /// The ids of the active jobs, when they were last asked for.
  private(set) var active: Set<JobID> = []
  /// How many jobs have been submitted since.
  private var recent = 0

  var inFlight: Int { active.count + recent }

  func add(_ plan: JobPlan, _ id: JobID?) {
    entries.append(Entry(plan: plan, id: id, time: Chronicle.now))
    recent += 1
  }

  func refused(_ plan: JobPlan, _ words: String) { refusals.append("\(plan.name): \(words)") }

  /// What was submitted while it was being asked counts twice, until it is asked again.
  func note(active: Set<JobID>) {
    self.active = active
    recent = 0
  }

  /// The jobs that are active although a target of theirs has been killed that keeps nothing, so long ago: nobody will ever know more of
  /// them. Each is named once.
  func hopeless(_ kills: [Evidence.Kill], after seconds: Double) -> [JobID] {
    let before = Chronicle.now - seconds
    var found: [JobID] = []
    for (index, entry) in entries.enumerated() {
      guard let id = entry.id, active.contains(id), !entry.wasGivenUp else { continue }
      let isHopeless = kills.contains {
        !$0.isDurable && entry.plan.targets.contains($0.target) && $0.time > entry.time && $0.time < before
      }
      guard isHopeless else { continue }
      entries[index].wasGivenUp = true
      found.append(id)
    }
    return found
  }
}
