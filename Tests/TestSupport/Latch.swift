// SPDX-License-Identifier: LGPL-3.0-only

import Foundation

/// A file that a job waits for, so that it lasts as long as a test needs and no longer, however slow the machine is.
package struct Latch: Sendable {
  package let path = FileManager.default.temporaryDirectory.appending(path: "fd-latch-\(UUID().uuidString)").path

  package init() {}

  /// What a shell runs to wait for it.
  package var wait: String { "until [ -e \(path) ]; do sleep 0.02; done" }

  package func open() throws { try Data().write(to: URL(fileURLWithPath: path)) }

  package func remove() { try? FileManager.default.removeItem(atPath: path) }
}

/// Runs `body` with a latch. Who still waits for it then ends with its instance.
package func withLatch<Result: Sendable>(_ body: (Latch) async throws -> Result) async throws -> Result {
  let latch = Latch()
  defer { latch.remove() }
  return try await body(latch)
}
