// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Logging
import Testing

/// `flux-delegate start`, seen from outside.
@Suite struct StartTests {
  /// What `flux shutdown` sends ends the command with SIGHUP, and the instance; without a command the instance alone.
  @Test(arguments: [
    (["sh", "-c", ": >$READY; sleep 60"], 129),
    // It is not asked to end before it has set its trap.
    (["sh", "-c", "trap 'exit 3' HUP; : >$READY; sleep 60 & wait"], 3), ([], 0),
  ])
  func shutdown(_ command: [String], _ code: Int) async throws {
    let path = "/tmp/fd-start-\(getpid())-\(code)/local"
    let ready = "/tmp/fd-start-\(getpid())-\(code).ready"
    defer { unlink(ready) }
    async let ended = run(
      [Build.executable, "start", "--socket", path] + command, uri: "", environment: ["READY": ready])
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let answer = try await eventually {
      guard command.isEmpty || access(ready, F_OK) == 0 else { return Output(code: 1, out: "", err: "not ready") }
      do {
        try await FluxConnection.withConnection(to: FluxURI(local: path), logger: logger) {
          _ = try await $0.rpc("shutdown.start", ["loglevel": 6])
        }
        return Output(code: 0, out: "", err: "")
      } catch { return Output(code: 1, out: "", err: "\(error)") }
    } until: {
      $0.code == 0
    }
    #expect(answer.code == 0, "\(answer)")
    let output = try await ended
    #expect(Int(output.code) == code, "\(output)")
  }
}
