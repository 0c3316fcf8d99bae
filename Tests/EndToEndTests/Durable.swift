// SPDX-License-Identifier: LGPL-3.0-only

import Foundation
import Glibc
import Testing

/// An embedded instance with a state directory, which can be killed and started again at the same address.
actor Durable {
  let name: String
  nonisolated let directory: String
  nonisolated let uri: String
  private let parent: String
  private var process: Process?

  private init(_ name: String) {
    self.name = name
    parent = "/tmp/fd-state-\(UUID().uuidString.prefix(8))"
    directory = parent + "/state"
    uri = "local://\(parent)/run/local"
  }

  /// Starts an instance, runs `body`, and kills what is there at the end.
  static func with<Result: Sendable>(
    _ name: String, _ body: @Sendable (Durable) async throws -> Result
  ) async throws -> Result {
    let durable = Durable(name)
    mkdir(durable.parent, 0o700)
    defer { try? FileManager.default.removeItem(atPath: durable.parent) }
    try await durable.start()
    let outcome: Swift.Result<Result, any Error>
    do { outcome = .success(try await body(durable)) } catch { outcome = .failure(error) }
    try await durable.kill()
    return try outcome.get()
  }

  /// Its verbs.
  nonisolated var instance: Instance { Instance(host: .embedded, uri: uri, pid: 0) }
  var pid: pid_t { process?.processIdentifier ?? 0 }

  /// Starts it on what the last one has left; returns when it takes connections.
  func start() async throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: Build.executable)
    process.arguments = [
      "start", "--name", name, "-N2", "-c2", "--socket", parent + "/run/local", "--statedir", directory,
    ]
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    try process.run()
    self.process = process
    try await Self.waitUntilItAnswers(instance)
  }

  private static func waitUntilItAnswers(_ instance: Instance) async throws {
    let answer = try await eventually {
      try await instance("getattr", "statedir")
    } until: {
      $0.code == 0
    }
    try #require(answer.code == 0, "\(answer)")
  }

  /// `kill -9`, or another signal, some time from now.
  func kill(after time: Duration = .zero, with signal: CInt = SIGKILL) async throws {
    try await Task.sleep(for: time)
    guard let process else { return }
    Glibc.kill(process.processIdentifier, signal)
    process.waitUntilExit()
    self.process = nil
  }
}
