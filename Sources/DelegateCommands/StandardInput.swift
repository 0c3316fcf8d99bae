// SPDX-License-Identifier: LGPL-3.0-only

import Dispatch
import Glibc

/// Reads a file descriptor of any kind (terminal, pipe, file) without making it non-blocking, as others may share it.
final class StandardInput: Sendable {
  private let descriptor: CInt
  private let queue = DispatchQueue(label: "flux-delegate.input")
  private let wakeUp: (reader: CInt, writer: CInt)

  /// A reader of `descriptor`, which stays open.
  init(_ descriptor: CInt) throws {
    self.descriptor = descriptor
    var pipe: [CInt] = [-1, -1]
    guard Glibc.pipe(&pipe) == 0 else {
      throw CommandFailure("cannot watch standard input: \(String(cString: strerror(errno)))")
    }
    for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    wakeUp = (pipe[0], pipe[1])
  }

  deinit {
    close(wakeUp.reader)
    close(wakeUp.writer)
  }

  /// The next bytes; empty at the end of the input and when the task is cancelled.
  func next(atMost limit: Int) async -> [UInt8] {
    await withTaskCancellationHandler {
      // Waits on a thread of its own: those of the concurrency pool are few and must not wait.
      await withCheckedContinuation { continuation in
        queue.async { continuation.resume(returning: self.waitAndRead(limit)) }
      }
    } onCancel: {
      var byte: UInt8 = 0
      _ = write(wakeUp.writer, &byte, 1)
    }
  }

  private func waitAndRead(_ limit: Int) -> [UInt8] {
    while true {
      var files = [
        pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
        pollfd(fd: wakeUp.reader, events: Int16(POLLIN), revents: 0),
      ]
      if poll(&files, 2, -1) < 0 {
        if errno == EINTR { continue }
        return []
      }
      if files[1].revents != 0 { return [] }
      var buffer = [UInt8](repeating: 0, count: limit)
      let count = read(descriptor, &buffer, limit)
      if count < 0, errno == EINTR || errno == EAGAIN { continue }
      return count > 0 ? Array(buffer[..<count]) : []
    }
  }
}
