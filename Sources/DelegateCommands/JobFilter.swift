// SPDX-License-Identifier: LGPL-3.0-only

/// The names of job states and results as bits, as `--filter` and `--states` take them.
enum JobFilter {
  /// States, and sets of them.
  static let states: [String: Int64] = [
    "depend": 2, "priority": 4, "sched": 8, "run": 16, "cleanup": 32, "inactive": 64, "pending": 14, "running": 48,
    "active": 62,
  ]
  /// Results.
  static let results: [String: Int64] = ["completed": 1, "failed": 2, "canceled": 4, "timeout": 8]
}
