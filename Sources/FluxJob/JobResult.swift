// SPDX-License-Identifier: LGPL-3.0-only

/// How a job ended; the raw values are bits, so that a sum of them is a set of results.
public enum JobResult: Int, Sendable, Hashable, CaseIterable {
  /// It ran and its wait status was 0.
  case completed = 1
  /// It ran and its wait status was not 0, or an exception ended it.
  case failed = 2
  /// An exception of type `cancel` ended it.
  case canceled = 4
  /// An exception of type `timeout` ended it.
  case timeout = 8

  /// The name, such as `COMPLETED`.
  public var name: String {
    switch self {
    case .completed: "COMPLETED"
    case .failed: "FAILED"
    case .canceled: "CANCELED"
    case .timeout: "TIMEOUT"
    }
  }

  /// The abbreviation that `flux jobs` prints: `CD`, `F`, `CA` or `TO`.
  public var short: String {
    switch self {
    case .completed: "CD"
    case .failed: "F"
    case .canceled: "CA"
    case .timeout: "TO"
    }
  }
}
