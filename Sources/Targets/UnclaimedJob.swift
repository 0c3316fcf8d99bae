// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// A job at a target that bears this origin's mark, and that nobody follows yet.
struct UnclaimedJob {
  let mark: Mark
  var since = ContinuousClock.now
  /// How many times as long it may be there before it is asked about again.
  var patience = 1
  var kept = KeptEvents()
  private(set) var isOver = false
  private var wasReleased = false

  init(_ mark: Mark) { self.mark = mark }

  /// Whether it has ended before it was released: it has never run, and is no copy of anything.
  var isDead: Bool { isOver && !wasReleased }

  /// Whether it waits for nothing but its release.
  var isHeld: Bool { !isOver && !wasReleased }

  /// What is known of it is known however much is kept.
  mutating func add(_ entries: [EventlogEntry]) {
    for entry in entries {
      if entry.name == "clean" { isOver = true }
      if entry.name == "alloc" || (entry.name == "urgency" && entry.context?["urgency"]?.intValue != 0) {
        wasReleased = true
      }
      kept.add(entry)
    }
  }
}
