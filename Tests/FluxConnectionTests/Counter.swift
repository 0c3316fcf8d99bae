// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// A count that one task makes and another reads.
final class Counter: Sendable {
  private let count = Atomic(0)

  /// The count.
  var value: Int { count.load(ordering: .relaxed) }

  /// One more.
  func increment() { count.add(1, ordering: .relaxed) }
}
