// SPDX-License-Identifier: LGPL-3.0-only

import Synchronization

/// The streams that a service has with its clients: so many and no more, and those of a client end when it goes away.
final class ClientStreams: Sendable {
  private struct State {
    var lastNumber: UInt64 = 0
    var count = 0
    /// What ends them, by client.
    var ends: [[String]: [UInt64: AsyncStream<Never>.Continuation]] = [:]
  }

  private let maximum: Int
  private let state = Mutex(State())

  /// So many streams at most.
  init(_ maximum: Int) { self.maximum = maximum }

  /// Begins a stream with a client, which its route names.
  ///
  /// - Returns: its number, and what ends when the client goes away; nil when there are too many.
  func begin(_ client: [String]) -> (number: UInt64, gone: AsyncStream<Never>)? {
    let (gone, end) = AsyncStream<Never>.makeStream()
    return state.withLock { state in
      guard state.count < maximum else { return nil }
      state.count += 1
      state.lastNumber += 1
      state.ends[client, default: [:]][state.lastNumber] = end
      return (state.lastNumber, gone)
    }
  }

  /// A stream has ended.
  func end(_ client: [String], _ number: UInt64) {
    state.withLock { state in
      state.count -= 1
      state.ends[client]?[number] = nil
      if state.ends[client]?.isEmpty == true { state.ends[client] = nil }
    }
  }

  /// A client has gone away.
  func drop(_ client: [String]) {
    let ends = state.withLock { $0.ends[client] } ?? [:]
    for end in ends.values { end.finish() }
  }
}
