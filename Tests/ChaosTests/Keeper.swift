// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import Subprocess
import SystemPackage
import TestSupport

/// Keeps an embedded instance: starts it, and again on the same socket when it was killed.
actor Keeper {
  nonisolated let name: String
  nonisolated let socket: String
  /// Where it keeps its state, if it can.
  nonisolated let stateDirectory: String?
  private let directory: String
  private let environment: [String: String]
  private(set) var pid: pid_t?
  private(set) var starts = 0
  private var isStopping = false
  /// How long it stays dead, in seconds.
  private var absence = 0.0
  private var waiters: [(starts: Int, CheckedContinuation<Void, Never>)] = []

  init(_ name: String, in directory: String, isDurable: Bool, environment: [String: String] = [:]) {
    self.name = name
    self.directory = directory
    // Its directory is its owner's alone.
    socket = "\(directory)/\(name)/local"
    stateDirectory = isDurable ? "\(directory)/\(name)-state" : nil
    self.environment = environment
  }

  nonisolated var asker: Asker { Asker(path: socket) }
  nonisolated var log: String { "\(directory)/\(name).log" }

  /// Runs it until ``stop()``.
  func run() async throws {
    while !isStopping {
      try await live()
      pid = nil
      if !isStopping { try await Task.sleep(for: .seconds(absence)) }
    }
  }

  private func live() async throws {
    var words = ["start", "--name", name, "-N4", "-c8", "--socket", socket]
    if let stateDirectory { words += ["--statedir", stateDirectory] }
    var variables: [Environment.Key: String?] = ["FLUX_URI": nil, "FD_CHAOS": directory]
    for (key, value) in environment { if let key = Environment.Key(rawValue: key) { variables[key] = value } }
    var options = PlatformOptions()
    options.teardownSequence = [.gracefulShutDown(allowedDurationToNextStep: .seconds(15))]
    let log = try FileDescriptor.open(
      FilePath(log), .writeOnly, options: [.append, .create], permissions: [.ownerReadWrite])
    let configuration = Configuration(
      executable: .path(FilePath(Build.executable)), arguments: Arguments(words),
      environment: .inherit.updating(variables), platformOptions: options)
    _ = try await Subprocess.run(
      configuration, input: .none, output: .sequence, error: .fileDescriptor(log, closeAfterSpawningProcess: true)
    ) { execution in
      for try await line in execution.standardOutput.strings() where line.hasPrefix("FLUX_URI=") {
        self.started(execution.processIdentifier.value)
        break
      }
    }
  }

  private func started(_ pid: pid_t) {
    self.pid = pid
    starts += 1
    for waiter in waiters where waiter.starts <= starts { waiter.1.resume() }
    waiters.removeAll { $0.starts <= starts }
    if isStopping { Glibc.kill(pid, SIGTERM) }
  }

  /// Returns when it has been started so often.
  func waitUntilStarted(_ times: Int) async {
    guard starts < times else { return }
    await withCheckedContinuation { waiters.append((times, $0)) }
  }

  /// `kill -9`. It comes back after so many seconds.
  ///
  /// - Returns: how often it will have been started then; nil when it is dead already.
  func kill(for seconds: Double) -> Int? {
    guard let pid, !isStopping else { return nil }
    absence = seconds
    Glibc.kill(pid, SIGKILL)
    self.pid = nil
    return starts + 1
  }

  func signal(_ number: CInt) { if let pid { Glibc.kill(pid, number) } }

  /// SIGTERM, and not again.
  func stop() {
    isStopping = true
    if let pid { Glibc.kill(pid, SIGTERM) }
  }
}
