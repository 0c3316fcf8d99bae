// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Where a verb writes.
public struct CommandOutput: Sendable {
  private let sink: @Sendable ([UInt8]) -> Void

  /// An output that gives everything to `sink`.
  public init(_ sink: @escaping @Sendable ([UInt8]) -> Void) { self.sink = sink }

  /// A file descriptor. Writes wait until everything is written; once the reader has gone they do nothing.
  public static func descriptor(_ descriptor: CInt) -> CommandOutput {
    CommandOutput { bytes in writeAll(bytes, to: descriptor) }
  }

  /// Writes bytes.
  public func write(_ bytes: [UInt8]) {
    if !bytes.isEmpty { sink(bytes) }
  }

  /// Writes text.
  public func write(_ text: String) { write(Array(text.utf8)) }

  /// Writes text and a newline, at once, so that lines of several writers do not mix.
  public func print(_ line: String) { write(line + "\n") }

  private static func writeAll(_ bytes: [UInt8], to descriptor: CInt) {
    bytes.withUnsafeBytes { buffer in
      var offset = 0
      while offset < buffer.count {
        let count = Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
        if count >= 0 {
          offset += count
        } else if errno == EAGAIN {
          // Somebody who shares the terminal made it non-blocking.
          var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
          _ = poll(&wait, 1, -1)
        } else if errno != EINTR {
          return
        }
      }
    }
  }
}
