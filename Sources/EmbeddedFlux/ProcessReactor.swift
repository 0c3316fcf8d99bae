// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import FluxJob
import Glibc
import NIOCore
import NIOPosix
import Synchronization

/// Watches the processes of an instance: their ends, and what they write.
///
/// One thread waits in epoll for pidfds and pipes, and hands what happens to the instance's event loop. A pipe is read at most
/// 64 KiB at a time, and not again before the loop has taken that, so a process that floods its output waits for its reader.
final class ProcessReactor: Sendable {
  /// What happens to a watched descriptor.
  enum Event: Sendable {
    /// Bytes from a pipe; never empty.
    case read([UInt8])
    /// The pipe's other end was closed.
    case endOfFile
    /// The process has ended, with this wait status.
    case exited(Int32)
  }

  private enum Watch {
    case pipe(@Sendable (Event) -> Void)
    case process(pid_t, @Sendable (Event) -> Void)
  }

  private static let chunk = 64 << 10
  private let epoll: CInt
  private let wake: CInt
  private let loop: any EventLoop
  private let watches = Mutex<[CInt: Watch]>([:])
  private let pool = NIOThreadPool(numberOfThreads: 1)

  /// - Throws: `ConfigurationError` when the kernel has no descriptors left.
  init(_ loop: any EventLoop) throws {
    self.loop = loop
    epoll = cspawn_epoll_create()
    wake = cspawn_eventfd()
    guard epoll >= 0, wake >= 0 else { throw EmbeddedInstance.StartError("cannot watch processes: \(lastError())") }
    cspawn_epoll_add(epoll, wake, 0)
    pool.start()
    pool.submit { [self] _ in run() }
  }

  /// Ends the thread. Watched descriptors that are left are closed.
  func stop() async throws {
    cspawn_wake(wake)
    try await pool.shutdownGracefully()
    for fd in watches.withLock({ Array($0.keys) }) { close(fd) }
    close(epoll)
    close(wake)
  }

  /// Watches a child of this process until it ends. `handler` runs once, on the event loop.
  ///
  /// - Returns: false when the kernel has no descriptor left for it.
  func watch(process pid: pid_t, _ handler: @escaping @Sendable (Event) -> Void) -> Bool {
    let fd = cspawn_pidfd_open(pid)
    guard fd >= 0 else { return false }
    watches.withLock { $0[fd] = .process(pid, handler) }
    cspawn_epoll_add(epoll, fd, 0)
    return true
  }

  /// Reads from a pipe until its end, and then closes it. After each `.read` the next waits for ``resume(pipe:)``.
  func watch(pipe fd: CInt, _ handler: @escaping @Sendable (Event) -> Void) {
    _ = fcntl(fd, F_SETFL, O_NONBLOCK)
    watches.withLock { $0[fd] = .pipe(handler) }
    cspawn_epoll_add(epoll, fd, 1)
  }

  /// The last `.read` of the pipe was dealt with.
  func resume(pipe fd: CInt) {
    guard watches.withLock({ $0[fd] != nil }) else { return }
    cspawn_epoll_rearm(epoll, fd)
  }

  /// Stops to read from a pipe and closes it.
  func drop(pipe fd: CInt) {
    guard watches.withLock({ $0.removeValue(forKey: fd) != nil }) else { return }
    end(fd)
  }

  /// A child that is about to be started has every descriptor for a moment: the set would go on to report one that is only closed.
  private func end(_ fd: CInt) {
    cspawn_epoll_remove(epoll, fd)
    close(fd)
  }

  private func run() {
    var ready = [CInt](repeating: 0, count: 256)
    while true {
      let count = cspawn_epoll_wait(epoll, &ready, CInt(ready.count))
      if count < 0 { return }
      for fd in ready.prefix(Int(count)) {
        if fd == wake { return }
        dispatch(fd)
      }
    }
  }

  private func dispatch(_ fd: CInt) {
    switch watches.withLock({ $0[fd] }) {
    case .process(let pid, let handler): reap(fd, pid, handler)
    case .pipe(let handler): read(fd, handler)
    case nil: break
    }
  }

  private func reap(_ fd: CInt, _ pid: pid_t, _ handler: @escaping @Sendable (Event) -> Void) {
    var status: Int32 = 0
    let found = waitpid(pid, &status, WNOHANG)
    // Somebody else has reaped it: how it ended is not known any more, but that it has is.
    guard found == pid || (found < 0 && errno == ECHILD) else { return }
    if found != pid { status = WaitStatus(exit: 255).rawValue }
    let final = status
    watches.withLock { _ = $0.removeValue(forKey: fd) }
    end(fd)
    loop.execute { handler(.exited(final)) }
  }

  private func read(_ fd: CInt, _ handler: @escaping @Sendable (Event) -> Void) {
    var error: CInt = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: Self.chunk) { buffer, count in
      count = Glibc.read(fd, buffer.baseAddress, buffer.count)
      if count < 0 {
        error = errno
        count = 0
      }
    }
    // The descriptor may have been closed, and given to another pipe, since epoll spoke of it: then there is nothing to read.
    if error == EAGAIN || error == EINTR { return resume(pipe: fd) }
    if bytes.isEmpty {
      let isOpen = watches.withLock { $0.removeValue(forKey: fd) } != nil
      if isOpen { cspawn_epoll_remove(epoll, fd) }
      // Closed on the loop: until its owner knows that it is, nothing else may have the number, or the owner drops that.
      loop.execute {
        if isOpen { close(fd) }
        handler(.endOfFile)
      }
    } else {
      loop.execute { handler(.read(bytes)) }
    }
  }
}

/// The words of the calling thread's errno.
func lastError() -> String { String(cString: strerror(errno)) }
