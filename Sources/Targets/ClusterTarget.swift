// SPDX-License-Identifier: LGPL-3.0-only

public import Delegation
public import FluxJob

/// A cluster that jobs can be sent to. One driver a kind of cluster.
///
/// Every method throws ``Delegation/TargetFailure`` when the cluster could not be asked.
public protocol ClusterTarget: Sendable {
  /// Submits a job, held: it does not start before its urgency is set.
  ///
  /// - Returns: what became of it. Only `.unanswered` leaves open whether the cluster has it.
  func submit(_ jobspec: Jobspec) async -> SubmissionOutcome

  /// Tells the cluster what the owner of a job wants of it. What the cluster refuses is refused in silence: a job that has ended takes
  /// no signals, and one that runs no urgency.
  ///
  /// - Returns: nil when it has done so, and else its words.
  @discardableResult
  func control(_ id: JobID, _ control: DelegatedJob.Control) async throws(TargetFailure) -> TargetRefusal?

  /// Looks for a job with a mark.
  ///
  /// - Returns: its id, or nil when the cluster has no such job.
  func find(_ mark: Mark) async throws(TargetFailure) -> JobID?

  /// Cancels a job. A job that has ended, or is not there, is fine.
  func cancel(_ id: JobID, note: String) async throws(TargetFailure)
}

/// What became of a submission.
public enum SubmissionOutcome: Hashable, Sendable {
  /// The cluster has it under this id.
  case accepted(JobID)
  /// The cluster will not have it, in its words.
  case rejected(String)
  /// The cluster could not be asked; nothing was sent.
  case unreachable(TargetFailure)
  /// It was sent, and no answer came.
  case unanswered(TargetFailure)
}
