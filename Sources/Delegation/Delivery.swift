// SPDX-License-Identifier: LGPL-3.0-only

/// What becomes of remote jobs when the origin ends for good: it is shut down, and will not be started again with its state.
public enum Orphans: String, Hashable, Sendable, CaseIterable {
  /// They are cancelled, as jobs at home are.
  case cancel
  /// They stay at their targets, and are their owner's there.
  case keep
}

/// What becomes of a job whose target cannot be seen.
public enum Delivery: String, Hashable, Sendable, CaseIterable {
  /// It waits until the target is seen again: it never runs twice.
  case atMostOnce = "at-most-once"
  /// After a patience it runs at another target; the first copy is cancelled when it is seen again, and may have run until then.
  case atLeastOnce = "at-least-once"

  /// How long a target may be out of sight, in seconds, unless the job or the target says otherwise.
  public static let defaultPatience = 600.0
  /// The shortest patience, in seconds: a connection that is lost is made again within moments.
  public static let shortestPatience = 1.0
  /// The longest patience, in seconds: 30 days.
  public static let longestPatience = 30 * 86400.0
}
