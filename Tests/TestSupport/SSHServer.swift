// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Subprocess
import Testing

/// A real OpenSSH server on loopback.
package struct SSHServer: Sendable {
  /// Whether this machine has one.
  package static let isThere = Flux.find("sshd") != nil

  /// Where its keys and its client are.
  package let directory: String
  /// What makes both Flux and flux-delegate use it.
  package var environment: [String: String] { ["FLUX_SSH": "\(directory)/ssh"] }

  /// The same target through ssh.
  package func uri(of local: String) -> String { local.replacing("local://", with: "ssh://localhost") }

  /// Starts a server, runs `body`, and stops the server.
  package static func withServer<Result: Sendable>(
    _ body: @Sendable @escaping (SSHServer) async throws -> Result
  ) async throws -> Result {
    try await withScript("ssh-server") { try await body(SSHServer(directory: $0)) }
  }

  /// Runs a script of the project that makes a directory, prints `ready` and serves until its input ends, with `body` in the meantime.
  static func withScript<Result: Sendable>(
    _ name: String, _ arguments: [String] = [], _ body: @Sendable @escaping (_ directory: String) async throws -> Result
  ) async throws -> Result {
    let directory = try temporaryDirectory("ssh")
    defer { remove(directory) }
    let words = ["\(Source.root)/scripts/\(name)", directory + "/d"] + arguments
    let result = try await Subprocess.run(
      .path("/bin/sh"), arguments: Arguments(words), input: .inputWriter, output: .sequence, error: .discarded
    ) { execution in
      for try await line in execution.standardOutput.strings() where line.trimmed == "ready" { break }
      let outcome: Swift.Result<Result, any Error>
      do { outcome = .success(try await body(directory + "/d")) } catch { outcome = .failure(error) }
      try await execution.standardInputWriter.finish()
      return outcome
    }
    return try result.closureResult.get()
  }
}

/// The project's own files.
package enum Source {
  package static let root = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" }
}

/// A new directory under /tmp, with a short path: a socket's holds 107 bytes.
package func temporaryDirectory(_ name: String) throws -> String {
  var template = Array("/tmp/fd-\(name)-XXXXXX".utf8CString)
  let made = try #require(mkdtemp(&template), "cannot make a directory in /tmp")
  return String(cString: made)
}

/// Removes a directory and what is in it.
package func remove(_ directory: String) {
  guard let entries = opendir(directory) else { return }
  while let entry = readdir(entries) {
    let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    if name == "." || name == ".." { continue }
    let path = "\(directory)/\(name)"
    if entry.pointee.d_type == UInt8(DT_DIR) { remove(path) } else { unlink(path) }
  }
  closedir(entries)
  rmdir(directory)
}
