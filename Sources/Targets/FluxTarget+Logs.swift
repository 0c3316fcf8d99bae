// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
public import FluxJob
import FluxWire

/// The logs of a job that is over.
extension FluxTarget {
  /// The most of a job's logs that comes in one piece, in bytes: as much as one commit takes at home. Longer ones are followed.
  static let maximumPiece = 1 << 20
  /// How many jobs' logs are fetched at once. A target that does not answer holds up its own jobs alone.
  static let fetchWidth = 64

  /// A job's logs in one piece, by their names; empty when there is no such log.
  ///
  /// - Returns: nil when they are too long for one.
  public func logs(_ names: [String], of id: JobID) async throws -> [String: String]? {
    let request: JSON = ["id": id.json, "keys": .array(names.map { .string($0) }), "flags": 0]
    do {
      let answer = try await fetches.run {
        try await connection.rpc("job-info.lookup", request, maximumLength: Self.maximumPiece)
      }
      return Dictionary(names.map { ($0, answer[$0]?.stringValue ?? "") }) { first, _ in first }
    } catch let error as ConnectionError where error.code == .limit { return nil }
  }
}
