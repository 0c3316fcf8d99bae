// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import Glibc

/// All that an instance does outside of itself: processes, the files that jobs name, shared objects.
///
/// Everything that a request can bring about on the machine goes through here, so that the instance can also be run where nothing may
/// come of its requests: the fuzzer's starts no process and opens no file.
protocol Surroundings: AnyObject, Sendable {
  /// Whether tasks can be given the names of their nodes.
  var setsHostnames: Bool { get }

  /// Starts a process, in a group of its own.
  func start(_ spawn: Spawn) throws(Spawn.Failure) -> pid_t
  /// Sends a signal to the group of a process that ``start(_:)`` has started. Returns 0, or an errno.
  @discardableResult
  func signal(group pid: pid_t, _ signal: CInt) -> CInt
  /// Tells when such a process has ended; false when that cannot be known.
  func watch(process pid: pid_t, _ handler: @escaping @Sendable (ProcessReactor.Event) -> Void) -> Bool
  /// Reads from a pipe until its end, and then closes it. After each `.read` the next waits for ``resume(pipe:)``.
  func watch(pipe fd: CInt, _ handler: @escaping @Sendable (ProcessReactor.Event) -> Void)
  /// The last `.read` of the pipe was dealt with.
  func resume(pipe fd: CInt)
  /// Stops to read from a pipe and closes it.
  func drop(pipe fd: CInt)

  /// Opens a file of a job's, as `open(2)` does. Returns a descriptor, or -1 with errno set.
  func open(_ path: String, _ flags: CInt) -> CInt
  /// Loads a shared object, as `dlopen(3)` does.
  func load(library path: String) -> UnsafeMutableRawPointer?
}

extension ProcessReactor: Surroundings {
  var setsHostnames: Bool { cspawn_can_set_hostname() != 0 }

  func start(_ spawn: Spawn) throws(Spawn.Failure) -> pid_t { try spawn.run() }

  func signal(group pid: pid_t, _ signal: CInt) -> CInt { Glibc.kill(-pid, signal) == 0 ? 0 : errno }

  func open(_ path: String, _ flags: CInt) -> CInt { Glibc.open(path, flags, 0o644) }

  func load(library path: String) -> UnsafeMutableRawPointer? { dlopen(path, RTLD_NOW | RTLD_LOCAL) }
}
