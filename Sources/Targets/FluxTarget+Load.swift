// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

/// What the policies ask a target.
extension FluxTarget {
  /// Whether it has a queue of that name, by its configuration now.
  public func hasQueue(_ name: String) async throws -> Bool {
    try await connection.rpc("config.get", timeout: Self.patience)["queues"]?[name] != nil
  }

  /// How long a target may take to answer a policy's question.
  private static let patience = Duration.seconds(5)

  /// How many jobs wait there now, whatever its scheduler: those in DEPEND, PRIORITY and SCHED.
  public func pendingJobs() async throws -> Double {
    let states = try await connection.rpc("job-list.job-stats", [:], timeout: Self.patience)["job_states"]
    let counts = ["depend", "priority", "sched"].map { states?[$0]?.doubleValue }
    guard !counts.contains(nil) else {
      throw ConnectionError(.notFlux, "\(connection.peer): job-list.job-stats has no counts of states")
    }
    return counts.reduce(0) { $0 + ($1 ?? 0) }
  }

  /// How long its scheduler takes to match a job now, in seconds: the mean of what it has matched since its statistics were last reset
  /// (Fluxion, `sched-fluxion-resource.stats-get`). A mean is told from the second job on; of a single one the longest time is its time.
  ///
  /// - Throws: an error that says so when the scheduler has no such time.
  public func matchTime() async throws -> Double {
    do {
      let stats = try await connection.rpc("sched-fluxion-resource.stats-get", nil, timeout: Self.patience)
      let matched = stats["match"]?["succeeded"]
      guard let count = matched?["njobs-reset"]?.intValue,
        let time = matched?["stats"]?[count == 1 ? "max" : "avg"]?.doubleValue
      else { throw ConnectionError(.notFlux, "\(connection.peer): its scheduler's statistics have no matching time") }
      // Nothing is known of one that has matched nothing yet: it comes after those that have a time.
      return count > 0 ? time : .greatestFiniteMagnitude
    } catch let error as RPCError where error.errnum == Errnum.notImplemented.rawValue {
      throw ConnectionError(.notFlux, "\(connection.peer): its scheduler tells no matching time")
    }
  }
}
