// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// A second host with an address of its own and a real OpenSSH server: a network namespace (scripts/second-host).
package struct SecondHost: Sendable {
  /// Whether this machine lets us have one.
  package static let isThere =
    geteuid() == 0 && SSHServer.isThere && Flux.find("ip") != nil && Flux.find("unshare") != nil

  /// Where its keys and its client are.
  package let directory: String
  /// Its address.
  package let address: String
  private let namespace: String

  /// What makes both Flux and flux-delegate reach it.
  package var environment: [String: String] { ["FLUX_SSH": "\(directory)/ssh"] }

  /// Makes the host, runs `body`, and takes the host away.
  package static func withHost<Result: Sendable>(
    _ body: @Sendable @escaping (SecondHost) async throws -> Result
  ) async throws -> Result {
    try await SSHServer.withScript("second-host", [Build.directory]) { directory in
      let address = try await run(["cat", directory + "/address"]).out.trimmed
      let namespace = try await run(["cat", directory + "/namespace"]).out.trimmed
      return try await body(SecondHost(directory: directory, address: address, namespace: namespace))
    }
  }

  /// Runs a line of shell there.
  package func callAsFunction(_ line: String) async throws -> Output {
    try await run(["\(directory)/ssh", address, line])
  }

  /// Starts an embedded instance there, runs `body` with what its URI is from here, and stops the instance.
  package func withInstance<Result: Sendable>(
    _ body: @Sendable @escaping (_ uri: String) async throws -> Result
  ) async throws -> Result {
    let line = "exec flux-delegate start --name second -N2 -c2 sh -c 'echo $FLUX_URI; exec cat'"
    // The words that come after these are further parameters of this shell, which it does not use.
    let command = ["sh", "-c", "exec \"$0\" \"$1\" \"$2\"", "\(directory)/ssh", address, line]
    return try await TestSupport.withInstance(.embedded, command: command) { instance in
      try await body(instance.uri.replacing("local://", with: "ssh://\(address)"))
    }
  }

  /// Cuts its cable, or puts it in again: nothing is refused, nothing arrives.
  package func setLink(isUp: Bool) async throws {
    let output = try await run(["ip", "-n", namespace, "link", "set", "eth0", isUp ? "up" : "down"])
    guard output.code == 0 else { throw Failure(words: output.err) }
  }

  private struct Failure: Error { var words: String }
}
