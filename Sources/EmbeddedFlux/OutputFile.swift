// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import NIOCore

/// A file that tasks' output is written to. Lives on the instance's event loop and never blocks it.
///
/// A file on disk takes what it is given. A FIFO or a terminal may be full: then the rest waits, and so do those who write.
final class OutputFile {
  /// How soon what did not fit is tried again, in seconds.
  private static let retryTime = 0.005

  let path: String
  /// Whether what is written says which task wrote it: as the first stream wanted that goes here, as in Flux.
  let isLabeled: Bool
  private unowned let broker: Broker
  private var descriptor: CInt
  private var pending: [UInt8] = []
  private var waiters: [() -> Void] = []
  private var isRetryDue = false
  /// Why nothing can be written any more.
  private(set) var failure: CInt?

  /// Opens the file, and makes it when it is not there.
  init(
    _ path: String, mode: String, isLabeled: Bool, _ broker: Broker, _ surroundings: any Surroundings
  ) throws(Spawn.Failure) {
    self.path = path
    self.isLabeled = isLabeled
    self.broker = broker
    var flags = O_CREAT | O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY
    if mode == "append" { flags |= O_APPEND }
    if mode == "truncate" { flags |= O_TRUNC }
    var descriptor = surroundings.open(path, flags)
    // A FIFO that nobody reads yet: opened for both, it keeps what is written until somebody does.
    if descriptor < 0, errno == ENXIO {
      descriptor = surroundings.open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    }
    guard descriptor >= 0 else { throw Spawn.Failure(errnum: errno) }
    self.descriptor = descriptor
  }

  deinit { close() }

  var isDrained: Bool { pending.isEmpty }

  /// Writes what the file takes now, and the rest later.
  func write(_ bytes: some Sequence<UInt8>) {
    guard failure == nil, descriptor >= 0 else { return }
    let waits = !pending.isEmpty
    pending.append(contentsOf: bytes)
    if !waits { flush() }
  }

  /// Calls back when nothing waits any more; at once when nothing does.
  func whenDrained(_ body: @escaping () -> Void) {
    if isDrained { body() } else { waiters.append(body) }
  }

  /// Forgets what waits.
  func abandon() {
    pending.removeAll()
    wake()
  }

  func close() {
    if descriptor >= 0 { Glibc.close(descriptor) }
    descriptor = -1
  }

  private func flush() {
    let (written, failure) = DescriptorWriter.write(pending, to: descriptor)
    self.failure = failure
    pending.removeFirst(failure == nil ? written : pending.count)
    if pending.isEmpty { return wake() }
    guard !isRetryDue else { return }
    isRetryDue = true
    _ = broker.after(Self.retryTime) { [weak self] in
      guard let self else { return }
      isRetryDue = false
      if !pending.isEmpty { flush() }
    }
  }

  private func wake() {
    let waiting = waiters
    waiters.removeAll()
    for waiter in waiting { waiter() }
  }
}

/// One stream of one task on its way to a file: its lines, and its label.
struct OutputSink {
  /// How long a line may be that is kept whole, in bytes.
  static let maximumLine = 64 << 10

  let file: OutputFile
  private let label: [UInt8]
  private let isLineBuffered: Bool
  private var line: [UInt8] = []

  init(_ file: OutputFile, rank: Int, isLineBuffered: Bool) {
    self.file = file
    label = file.isLabeled ? Array("\(rank): ".utf8) : []
    self.isLineBuffered = isLineBuffered
  }

  mutating func write(_ bytes: [UInt8]) {
    guard isLineBuffered else { return file.write(label + bytes) }
    line += bytes
    guard let end = line.lastIndex(of: UInt8(ascii: "\n")) else {
      if line.count > Self.maximumLine { finish() }
      return
    }
    let whole = line[...end]
    if label.isEmpty { file.write(whole) } else { file.write(labeled(whole)) }
    line.removeFirst(whole.count)
  }

  /// The stream has ended: what is left is no whole line.
  mutating func finish() {
    if !line.isEmpty { file.write(label + line) }
    line.removeAll()
  }

  private func labeled(_ lines: ArraySlice<UInt8>) -> [UInt8] {
    var text: [UInt8] = []
    var isStart = true
    for byte in lines {
      if isStart { text += label }
      text.append(byte)
      isStart = byte == UInt8(ascii: "\n")
    }
    return text
  }
}
