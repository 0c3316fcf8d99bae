// SPDX-License-Identifier: LGPL-3.0-only

/// The state of a job (Flux RFC 21); the raw values are bits, so that a sum of them is a set of states.
public enum JobState: Int, Sendable, Hashable, CaseIterable {
  /// Submitted, not yet validated.
  case new = 1
  /// Waiting for dependencies.
  case depend = 2
  /// Waiting for a priority.
  case priority = 4
  /// Waiting for resources.
  case sched = 8
  /// Running, or about to.
  case run = 16
  /// Giving back resources.
  case cleanup = 32
  /// Done.
  case inactive = 64

  /// The name, such as `DEPEND`.
  public var name: String {
    switch self {
    case .new: "NEW"
    case .depend: "DEPEND"
    case .priority: "PRIORITY"
    case .sched: "SCHED"
    case .run: "RUN"
    case .cleanup: "CLEANUP"
    case .inactive: "INACTIVE"
    }
  }

  /// The abbreviation that `flux jobs` prints: `N`, `D`, `P`, `S`, `R`, `C` or `I`.
  public var short: String { String(name.prefix(1)) }
}
