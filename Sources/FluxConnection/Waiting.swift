// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// How many of a stream's responses wait for their consumer, and whether reading stopped because of it. Shared by the event loop,
/// which adds, and the consumer, which takes.
final class Waiting: Sendable {
  private struct State {
    var count = 0
    var isPaused = false
  }

  private let state = Mutex(State())
  private let resumeBelow: Int

  init(resumeBelow: Int) { self.resumeBelow = resumeBelow }

  /// One more waits. Returns how many that makes.
  func add() -> Int {
    state.withLock {
      $0.count += 1
      return $0.count
    }
  }

  /// Reading is to stop. Returns false when it had stopped already.
  func pause() -> Bool {
    state.withLock { state in
      defer { state.isPaused = true }
      return !state.isPaused
    }
  }

  /// One was taken. Returns true when reading is to start again.
  func take() -> Bool {
    state.withLock {
      $0.count -= 1
      guard $0.isPaused, $0.count < resumeBelow else { return false }
      $0.isPaused = false
      return true
    }
  }

  /// The consumer has gone. Returns true when reading is to start again.
  func drop() -> Bool {
    state.withLock { state in
      defer { state.isPaused = false }
      return state.isPaused
    }
  }
}
