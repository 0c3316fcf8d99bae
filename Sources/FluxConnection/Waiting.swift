// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// How many of a stream's responses wait for their consumer, and whether reading stopped because of it. Shared by the event loop,
/// which adds, and the consumer, which takes.
final class Waiting: Sendable {
  private struct State {
    var count = 0
    var bytes = 0
    var isPaused = false
  }

  private let state = Mutex(State())
  private let limit: (count: Int, bytes: Int)

  init(limit: (count: Int, bytes: Int)) { self.limit = limit }

  /// One more waits. Returns whether these are too many, or too large together. A single one never is too large.
  func add(_ bytes: Int) -> Bool {
    state.withLock {
      $0.count += 1
      $0.bytes += bytes
      return $0.count > limit.count || ($0.bytes > limit.bytes && $0.count > 1)
    }
  }

  /// Reading is to stop. Returns false when it had stopped already.
  func pause() -> Bool {
    state.withLock { state in
      defer { state.isPaused = true }
      return !state.isPaused
    }
  }

  /// One was taken. Returns true when reading is to start again: at half the limits.
  func take(_ bytes: Int) -> Bool {
    state.withLock {
      $0.count -= 1
      $0.bytes -= bytes
      guard $0.isPaused, $0.count < max(1, limit.count / 2), $0.bytes <= limit.bytes / 2 else { return false }
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
