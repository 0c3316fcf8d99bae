// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Copies bytes both ways between a pair of file descriptors and a socket, with one buffer for each way.
///
/// A side that does not take bytes stops only the reading from the other side, so neither can make the other wait for
/// ever.
final class RelayLoop {
  private static let capacity = 1 << 18

  /// One way: what was read and not yet written.
  private struct Flow {
    let source: CInt
    let sink: CInt
    var buffer = [UInt8](repeating: 0, count: RelayLoop.capacity)
    var start = 0
    var end = 0
    var hasEnded = false

    var isEmpty: Bool { start == end }

    /// Reads once. Returns errno when that failed.
    mutating func fill() -> CInt? {
      let count = read(source, &buffer, buffer.count)
      if count > 0 {
        (start, end) = (0, count)
      } else if count == 0 || errno == ECONNRESET || errno == EIO {
        hasEnded = true
      } else if errno != EAGAIN, errno != EINTR {
        return errno
      }
      return nil
    }

    /// Writes what it can. Returns errno when that failed.
    mutating func drain() -> CInt? {
      let count = buffer.withUnsafeBytes { bytes in
        write(sink, bytes.baseAddress.map { $0 + start }, end - start)
      }
      if count >= 0 {
        start += count
      } else if errno == EPIPE || errno == ECONNRESET {
        (start, end, hasEnded) = (0, 0, true)
      } else if errno != EAGAIN, errno != EINTR {
        return errno
      }
      return nil
    }
  }

  private var outward: Flow
  private var inward: Flow

  /// A loop between `input` and `output` on one side, and `socket` on the other.
  init(input: CInt, output: CInt, socket: CInt) {
    outward = Flow(source: input, sink: socket)
    inward = Flow(source: socket, sink: output)
    // A full sink must not stop the loop. Readability is asked for with poll, so `input` may stay as it is.
    for descriptor in [socket, output] { _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) }
  }

  /// Copies until either side has ended and what it sent is delivered.
  ///
  /// - Returns: nil, or the errno of a failure.
  func run() -> CInt? {
    while !(outward.hasEnded && outward.isEmpty || inward.hasEnded && inward.isEmpty) {
      var files = [
        outward.isEmpty
          ? pollfd(fd: outward.hasEnded ? -1 : outward.source, events: Int16(POLLIN), revents: 0)
          : pollfd(fd: outward.sink, events: Int16(POLLOUT), revents: 0),
        inward.isEmpty
          ? pollfd(fd: inward.hasEnded ? -1 : inward.source, events: Int16(POLLIN), revents: 0)
          : pollfd(fd: inward.sink, events: Int16(POLLOUT), revents: 0),
      ]
      if poll(&files, 2, -1) < 0 {
        if errno == EINTR { continue }
        return errno
      }
      if files[0].revents != 0, let error = outward.isEmpty ? outward.fill() : outward.drain() { return error }
      if files[1].revents != 0, let error = inward.isEmpty ? inward.fill() : inward.drain() { return error }
    }
    return nil
  }
}
