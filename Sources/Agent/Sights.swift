// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Synchronization

/// Which jobs have lost sight of their targets: who waits for a patience to be over looks here whether it still matters.
final class Sights: Sendable {
  /// By job, the number of the loss.
  private let lost = Mutex<[JobID: Int]>([:])

  /// A job's target is out of sight since the loss with that number; nil: it is in sight, or the job is gone.
  func set(_ number: Int?, for id: JobID) { lost.withLock { $0[id] = number } }

  /// Whether that loss still lasts.
  func isLost(_ id: JobID, _ number: Int) -> Bool { lost.withLock { $0[id] == number } }
}
