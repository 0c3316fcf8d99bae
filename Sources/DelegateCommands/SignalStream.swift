// SPDX-License-Identifier: LGPL-3.0-only

import Dispatch
import Glibc

/// Signals of this process as a stream. While somebody reads it, the signals do nothing else.
struct SignalStream: Sendable {
  /// The signals' numbers as they come.
  let signals: AsyncStream<CInt>

  /// Takes `numbers` over, until the stream is let go.
  init(_ numbers: [CInt]) {
    let (stream, continuation) = AsyncStream<CInt>.makeStream()
    signals = stream
    let queue = DispatchQueue(label: "flux-delegate.signals")
    let sources = numbers.map { number in
      // A signal that is not ignored would still do what it does by default.
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
      source.setEventHandler { continuation.yield(number) }
      source.activate()
      return Source(number: number, source: source)
    }
    continuation.onTermination = { _ in
      for source in sources { source.cancel() }
    }
  }

  /// A dispatch source may be used from anywhere, but is not marked so.
  private struct Source: @unchecked Sendable {
    let number: CInt
    let source: any DispatchSourceSignal

    func cancel() {
      source.cancel()
      signal(number, SIG_DFL)
    }
  }
}
