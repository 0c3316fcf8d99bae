// SPDX-License-Identifier: LGPL-3.0-only

import Dispatch
import Glibc

/// Waiting for SIGINT, SIGTERM or SIGHUP.
enum StopSignal {
  /// Returns when the process is asked to stop. May be used once.
  static func wait() async {
    let (requests, sink) = AsyncStream<Void>.makeStream()
    let sources = [SIGINT, SIGTERM, SIGHUP].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number)
      source.setEventHandler { sink.yield() }
      source.resume()
      return source
    }
    for await _ in requests { break }
    for source in sources { source.cancel() }
  }
}
