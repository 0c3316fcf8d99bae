// SPDX-License-Identifier: LGPL-3.0-only

import Testing

/// The instance's log, `flux dmesg`.
struct LogTests {
  /// What a client adds is a line of text, not JSON; the agent's own log comes this way.
  @Test func clientsAddLines() async throws {
    try await InstanceTests.withInstance { _, connection in
      await connection.log(line: "<33>1 2026-01-01T00:00:00.000000Z 0 delegate - - - hello")
      var lines: [String] = []
      for try await line in await connection.stream("log.dmesg", ["follow": false, "nobacklog": false]) {
        lines.append(line.text ?? "")
      }
      #expect(lines.contains { $0.hasSuffix("hello") }, "\(lines)")
    }
  }
}
