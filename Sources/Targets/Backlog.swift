// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// How much of what a target has told is still to be taken by whoever listens: a target that tells more than can be taken is not read meanwhile.
public final class Backlog: Sendable {
  /// How many events of one target may wait. Its next message is read when there are fewer.
  public static let capacity = 1024
  /// How often it is looked whether there is room.
  private static let retry = Duration.milliseconds(5)

  private let count = Mutex(0)

  /// Nothing waits.
  public init() {}

  /// So many events more wait.
  public func add(_ events: Int) { count.withLock { $0 += events } }

  /// So many have been taken.
  public func take(_ events: Int) { count.withLock { $0 -= events } }

  /// Returns when there is room, or nobody waits for it any more.
  func waitForRoom() async {
    while count.withLock({ $0 >= Self.capacity }) {
      do { try await Task.sleep(for: Self.retry) } catch { return }
    }
  }
}
