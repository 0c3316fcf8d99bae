// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import NIOCore

/// Writes to a pipe or a terminal that does not block, and keeps what it does not take yet. Lives on the instance's event loop; the descriptor
/// stays its owner's.
final class DescriptorWriter {
  /// How soon a full pipe is tried again, in seconds.
  private static let retryTime = 0.005

  private let descriptor: CInt
  private unowned let broker: Broker
  private var unwritten: [UInt8] = []
  private var endsThen = false
  private var isRetryDue = false
  private var ended: (() -> Void)?

  /// - Parameter ended: called when all is written that there will be, or nobody takes it any more.
  init(_ descriptor: CInt, _ broker: Broker, ended: @escaping () -> Void) {
    self.descriptor = descriptor
    self.broker = broker
    self.ended = ended
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  /// How many bytes wait.
  var waiting: Int { unwritten.count }

  /// Writes what is taken now, and the rest later.
  func write(_ bytes: [UInt8], isLast: Bool = false) {
    guard ended != nil else { return }
    unwritten += bytes
    if isLast { endsThen = true }
    if !isRetryDue { flush() }
  }

  /// Forgets what waits: the descriptor is about to be closed.
  func stop() {
    unwritten = []
    ended = nil
  }

  /// Writes what a descriptor takes now. Returns how many bytes that were, and the errno if it will take no more.
  static func write(_ bytes: [UInt8], to descriptor: CInt) -> (count: Int, failure: CInt?) {
    bytes.withUnsafeBytes { bytes in
      var written = 0
      while written < bytes.count {
        let count = Glibc.write(descriptor, bytes.baseAddress?.advanced(by: written), bytes.count - written)
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return (written, errno == EAGAIN ? nil : errno) }
        written += count
      }
      return (written, nil)
    }
  }

  private func flush() {
    let (written, failure) = Self.write(unwritten, to: descriptor)
    unwritten.removeFirst(written)
    if failure != nil || (unwritten.isEmpty && endsThen) {
      let ended = ended
      stop()
      return ended?() ?? ()
    }
    guard !unwritten.isEmpty else { return }
    isRetryDue = true
    _ = broker.after(Self.retryTime) { [weak self] in
      guard let self else { return }
      isRetryDue = false
      if ended != nil { flush() }
    }
  }
}
