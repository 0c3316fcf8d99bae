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
    (["sh", "-c", "sleep 60"], 129), (["sh", "-c", "trap 'exit 3' HUP; sleep 60 & wait"], 3), ([], 0),
  ])
  func shutdown(_ command: [String], _ code: Int) async throws {
    let path = "/tmp/fd-start-\(getpid())-\(code)/local"
    async let ended = run([Build.executable, "start", "--socket", path] + command, uri: "")
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    let answer = try await eventually(within: .seconds(10)) {
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
