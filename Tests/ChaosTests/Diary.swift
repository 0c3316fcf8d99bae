// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The origin's log as long as the run lasts: the instance itself keeps its last lines only.
actor Diary {
  /// The most lines that are kept.
  private static let capacity = 200_000
  private var lines: [String] = []

  /// Follows the log until cancelled, also that of an instance which was started again.
  func follow(_ origin: Asker) async {
    while !Task.isCancelled {
      try? await origin.withConnection { connection in
        let stream = await connection.stream(
          "log.dmesg", ["follow": true, "nobacklog": false], cancelTopic: "log.cancel")
        for try await line in stream { await self.add(line.text ?? "") }
      }
      try? await Task.sleep(for: .milliseconds(200))
    }
  }

  private func add(_ line: String) {
    if lines.count < Self.capacity { lines.append(line) }
  }

  /// What was said of a job.
  func lines(of id: JobID) -> [String] {
    let name = id.encoded(.f58)
    return lines.filter { $0.contains(name) }
  }
}
