// SPDX-License-Identifier: LGPL-3.0-only

/// One task waits for what another has done.
struct Signal: Sendable {
  private let stream: AsyncStream<Void>
  private let continuation: AsyncStream<Void>.Continuation

  init() { (stream, continuation) = AsyncStream<Void>.makeStream() }

  /// It is done; may be said before anybody waits.
  func fire() { continuation.yield() }

  /// Waits until it is done; one waiter a signal.
  func wait() async {
    for await _ in stream { return }
  }
}
