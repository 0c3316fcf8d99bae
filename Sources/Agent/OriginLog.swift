// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Logging
import Synchronization

#if canImport(Glibc)
  import Glibc
#endif

/// The agent's log: lines in the origin instance's own (`flux dmesg`), where its administrator looks.
///
/// At most 512 lines wait to be sent, and at most 20 a second are: a storm of failures stays readable. What is left out is counted.
struct OriginLog: Sendable {
  private static let linesPerSecond = 20
  /// How much of a text is written, in bytes.
  private static let maximumLength = 1500
  private let origin: FluxConnection
  private let lines: AsyncStream<String>
  private let sink: AsyncStream<String>.Continuation
  /// How many lines were left out since that was last said.
  private let leftOut = LeftOut()
  /// For libraries that want a logger: standard error.
  let logger: Logger

  init(_ origin: FluxConnection, fallback: Logger) {
    self.origin = origin
    logger = fallback
    (lines, sink) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(512))
  }

  func error(_ text: String) { add(3, text) }
  func warning(_ text: String) { add(4, text) }
  func info(_ text: String) { add(6, text) }
  func debug(_ text: String) { add(7, text) }

  /// Flux has the severity in the upper bits of an RFC 5424 priority, not in the lower.
  private func add(_ level: Int, _ text: String) {
    let clean = text.cut(to: Self.maximumLength).replacing("\n", with: "; ")
    if case .dropped = sink.yield(Self.line(level, clean)) { leftOut.add() }
  }

  private static func line(_ level: Int, _ text: String) -> String {
    "<\(level << 3 | 1)>1 \(time()) 0 delegate - - - \(text)"
  }

  /// A count that several tasks add to.
  private final class LeftOut: Sendable {
    private let count = Mutex(0)
    func add() { count.withLock { $0 += 1 } }
    func take() -> Int {
      count.withLock { count in
        let taken = count
        count = 0
        return taken
      }
    }
  }

  /// Sends lines until cancelled.
  func run() async {
    for await line in lines {
      await origin.log(line: line)
      let count = leftOut.take()
      if count > 0 { await origin.log(line: Self.line(4, "\(count) lines were left out: they came too fast")) }
      try? await Task.sleep(for: .milliseconds(1000 / Self.linesPerSecond))
    }
  }

  /// Seconds since the epoch.
  static var now: Double {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    return Double(now.tv_sec) + Double(now.tv_nsec) / 1e9
  }

  private static func time() -> String {
    var now = timespec()
    clock_gettime(CLOCK_REALTIME, &now)
    var parts = tm()
    gmtime_r(&now.tv_sec, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let length = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S", &parts)
    let micro = String(now.tv_nsec / 1000)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      + "." + String(repeating: "0", count: max(0, 6 - micro.count)) + micro + "Z"
  }
}
