// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import NIOEmbedded

@testable import EmbeddedFlux

/// The surroundings of the instance that is fuzzed: no process is started, no signal is sent, no file is opened and no shared object is
/// loaded. Processes are numbers, which end when they are told to.
///
/// Of the machine it has pipes alone, which the instance has made, and `/dev/null`. On one thread.
final class ImaginarySurroundings: Surroundings, @unchecked Sendable {
  private typealias Handler = @Sendable (ProcessReactor.Event) -> Void

  /// The most processes that live at once.
  static let maximumProcesses = 12

  private let loop: EmbeddedEventLoop
  private var processes: [pid_t: Handler?] = [:]
  private var inputs: [pid_t: CInt] = [:]
  private var pipes: [CInt: Handler] = [:]
  private var lastProcess: pid_t = 1000

  init(_ loop: EmbeddedEventLoop) { self.loop = loop }

  let setsHostnames = true

  // MARK: Processes

  func start(_ spawn: Spawn) throws(Spawn.Failure) -> pid_t {
    guard let name = spawn.command.first, name != "missing" else { throw Spawn.Failure(errnum: ENOENT) }
    guard processes.count < Self.maximumProcesses else { throw Spawn.Failure(errnum: EAGAIN) }
    lastProcess += 1
    let pid = lastProcess
    processes[pid] = .some(nil)
    // Its standard input, so that what is written there stays in the pipe.
    if spawn.input >= 0 { inputs[pid] = dup(spawn.input) }
    if name == "true" { loop.execute { [self] in end(pid, 0) } }
    return pid
  }

  func signal(group pid: pid_t, _ signal: CInt) -> CInt {
    guard processes[pid] != nil else { return ESRCH }
    guard (0...64).contains(signal) else { return EINVAL }
    if signal == SIGKILL || signal == SIGTERM { loop.execute { [self] in end(pid, signal) } }
    return 0
  }

  func watch(process pid: pid_t, _ handler: @escaping @Sendable (ProcessReactor.Event) -> Void) -> Bool {
    processes[pid] = handler
    return true
  }

  private func end(_ pid: pid_t, _ status: CInt) {
    guard let handler = processes.removeValue(forKey: pid) else { return }
    if let input = inputs.removeValue(forKey: pid) { close(input) }
    handler?(.exited(status))
  }

  /// Ends the process of that number among those that live.
  func endProcess(_ index: Int, status: CInt) {
    let present = processes.keys.sorted()
    if !present.isEmpty { end(present[index % present.count], status) }
  }

  func endAll() {
    for pid in processes.keys.sorted() { end(pid, 0) }
    for pipe in pipes.keys.sorted() { endPipe(pipe) }
  }

  var isQuiet: Bool { processes.isEmpty && pipes.isEmpty }

  // MARK: Pipes

  func watch(pipe fd: CInt, _ handler: @escaping @Sendable (ProcessReactor.Event) -> Void) { pipes[fd] = handler }

  func resume(pipe fd: CInt) {}

  func drop(pipe fd: CInt) { if pipes.removeValue(forKey: fd) != nil { close(fd) } }

  private func endPipe(_ fd: CInt) {
    guard let handler = pipes.removeValue(forKey: fd) else { return }
    close(fd)
    handler(.endOfFile)
  }

  /// A process has written into the pipe of that number among those that are open; without bytes it has closed it.
  func write(_ index: Int, _ bytes: [UInt8]) {
    let present = pipes.keys.sorted()
    guard !present.isEmpty else { return }
    let pipe = present[index % present.count]
    if bytes.isEmpty { endPipe(pipe) } else { pipes[pipe]?(.read(bytes)) }
  }

  // MARK: Files

  func open(_ path: String, _ flags: CInt) -> CInt {
    guard !path.contains("missing") else {
      errno = ENOENT
      return -1
    }
    return Glibc.open("/dev/null", flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK))
  }

  func load(library path: String) -> UnsafeMutableRawPointer? { nil }
}
