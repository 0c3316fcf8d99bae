// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import Synchronization

/// Ends the waiting for a target that goes on without end, or not at all.
final class IdleWatch: Sendable {
  private let last = Mutex(ContinuousClock.now)

  /// The target has said something.
  func touch() { last.withLock { $0 = .now } }

  /// Runs `work`, which touches the watch whenever the target has said something.
  ///
  /// - Parameters:
  ///   - idle: how long it may say nothing.
  ///   - total: how long the work may take.
  ///   - what: what it is busy with, in words.
  /// - Throws: ``FluxConnection/ConnectionError`` `silent` when it is too long, or what `work` throws.
  func run<Result: Sendable>(
    idle: Duration, total: Duration, _ what: String, _ work: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    try await withThrowingTaskGroup(of: Result.self) { group in
      group.addTask { try await work() }
      group.addTask { throw try await self.limit(idle, total, what) }
      defer { group.cancelAll() }
      guard let result = try await group.next() else { throw CancellationError() }
      return result
    }
  }

  private func limit(_ idle: Duration, _ total: Duration, _ what: String) async throws -> ConnectionError {
    let end = ContinuousClock.now + total
    while true {
      let now = ContinuousClock.now
      let idleEnd = last.withLock { $0 } + idle
      if now >= idleEnd { return ConnectionError(.silent, "\(what): nothing for \(idle)") }
      if now >= end { return ConnectionError(.silent, "\(what): not done within \(total)") }
      try await Task.sleep(until: min(idleEnd, end), clock: .continuous)
    }
  }
}
