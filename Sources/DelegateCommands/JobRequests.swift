// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The same request for several jobs.
enum JobRequests {
  /// Sends a request for each job and reports those that fail.
  ///
  /// - Returns: 1 when any failed.
  static func each(
    _ ids: [String], _ what: String, _ context: CommandContext,
    _ request: @escaping @Sendable (JobID) async throws -> Void
  ) async throws -> Int32 {
    let jobs = try ids.map { ($0, try JobCommand.parseID($0)) }
    return try await withThrowingTaskGroup(of: Bool.self) { group in
      for (name, id) in jobs {
        group.addTask {
          do {
            try await request(id)
            return true
          } catch let error as RPCError {
            context.errorOutput.print("flux-delegate job \(what): \(name): \(error)")
            return false
          }
        }
      }
      var result: Int32 = 0
      for try await isDone in group where !isDone { result = 1 }
      return result
    }
  }
}
