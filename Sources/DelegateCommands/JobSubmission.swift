// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// A jobspec on its way to an instance.
struct JobSubmission: Sendable {
  /// The jobspec's text.
  var jobspec: String
  /// 0 holds the job, 16 is the default, 31 expedites it.
  var urgency: Int
  /// Flux's bits.
  var flags: Int

  /// Submits it.
  ///
  /// - Returns: the job's id, once the job is safe in the instance's store.
  func submit(on connection: FluxConnection) async throws -> JobID {
    let response = try await connection.rpc(
      "job-ingest.submit",
      [
        "J": .string(SignedJobspec(userID: getuid(), jobspec: jobspec).text), "urgency": .int(Int64(urgency)),
        "flags": .int(Int64(flags)),
      ])
    guard let id = JobID(response["id"]) else {
      throw CommandFailure("\(connection.peer): the answer to job-ingest.submit has no job id")
    }
    return id
  }
}
