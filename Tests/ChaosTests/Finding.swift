// SPDX-License-Identifier: LGPL-3.0-only

/// What the checker says of one job.
struct Finding: Hashable, Sendable {
  /// How it ended.
  enum Verdict: String, CaseIterable, Sendable {
    /// Its origin job has ended as it did.
    case ran
    /// Its target has it, and it has run there.
    case handedOver = "handed over"
    /// Its owner has cancelled it.
    case cancelled
    /// It says that it runs nowhere, since no target could be reached.
    case unreached
    /// Its target was killed while it ran, and has come back with its other jobs.
    case cutShort = "cut short"
    /// Its target has forgotten it.
    case forgotten
    /// There was no answer to its submission, and it is not there.
    case neverAccepted = "never accepted"
  }

  /// What is not as it should be.
  enum Complaint: Hashable, Sendable, CustomStringConvertible {
    case doubled(marks: Int, copies: Int)
    case lost(String)
    case stillActive(String)
    case copyLeft(String)
    case wrongEnd(String)
    case incomplete(String)

    var description: String {
      switch self {
      case .doubled(let marks, let copies): "doubled: \(marks) runs, \(copies) copies that have started"
      case .lost(let words): "lost: \(words)"
      case .stillActive(let words): "still active at the origin: \(words)"
      case .copyLeft(let words): "left at a target: \(words)"
      case .wrongEnd(let words): "wrong end: \(words)"
      case .incomplete(let words): "incomplete: \(words)"
      }
    }
  }

  var verdict: Verdict
  var complaints: [Complaint] = []
}
