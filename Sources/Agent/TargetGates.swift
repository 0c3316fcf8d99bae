// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Synchronization
import Targets

/// A gate for each target: what has to wait for one does not keep others waiting.
final class TargetGates: Sendable {
  private struct Entry {
    var gate: Gate
    /// How many are inside, or wait.
    var count = 0
  }

  private let width: Int
  private let entries = Mutex<[FluxURI: Entry]>([:])

  /// Gates that let so many through at once, each.
  init(_ width: Int) { self.width = width }

  /// Runs `work` when it is its turn at that target.
  func run(_ uri: FluxURI, _ work: @Sendable () async throws -> Void) async throws {
    let gate = entries.withLock { entries in
      var entry = entries[uri] ?? Entry(gate: Gate(width))
      entry.count += 1
      entries[uri] = entry
      return entry.gate
    }
    defer {
      entries.withLock { entries in
        entries[uri]?.count -= 1
        if entries[uri]?.count == 0 { entries[uri] = nil }
      }
    }
    try await gate.run(work)
  }
}
