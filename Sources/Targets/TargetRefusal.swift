// SPDX-License-Identifier: LGPL-3.0-only

/// What a cluster says when it does not do what it was told about a job.
public struct TargetRefusal: Hashable, Sendable {
  /// Its words, with who they are from.
  public var words: String
  /// Whether it does not know the job: its state was lost, or the job has ended and was purged.
  public var isForgotten: Bool
}
