// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// So many at once, and no more: whoever comes then is refused, and not kept waiting.
final class Slots: Sendable {
  private let left: Mutex<Int>

  init(_ count: Int) { left = Mutex(count) }

  /// - Returns: whether there was one; then it has to be given back.
  func take() -> Bool {
    left.withLock { left in
      guard left > 0 else { return false }
      left -= 1
      return true
    }
  }

  func giveBack() { left.withLock { $0 += 1 } }
}
