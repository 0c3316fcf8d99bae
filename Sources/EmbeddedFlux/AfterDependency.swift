// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What a job waits for another job to do; the raw value is the name in a dependency's description.
enum AfterDependency: String {
  case start = "after-start"
  case finish = "after-finish"
  case success = "after-success"
  case failure = "after-failure"
  case except = "after-except"

  enum Verdict { case met, impossible, open }

  init?(scheme: String) {
    switch scheme {
    case "after", "afterstart": self = .start
    case "afterany": self = .finish
    case "afterok": self = .success
    case "afternotok": self = .failure
    case "afterexcept": self = .except
    default: return nil
    }
  }

  /// The kind and the job of a description; state directories of earlier versions have the scheme in it.
  static func parse(_ description: String) -> (kind: AfterDependency, id: JobID)? {
    guard let split = description.firstIndex(of: "=") else { return nil }
    let name = String(description[..<split])
    guard let kind = AfterDependency(rawValue: name) ?? AfterDependency(scheme: name),
      let id = try? JobID(parsing: String(description[description.index(after: split)...]))
    else { return nil }
    return (kind, id)
  }

  func verdict(_ other: Job) -> Verdict {
    if self == .start, other.hasStarted { return .met }
    guard let result = other.outcome else { return .open }
    if self == .finish { return .met }
    // A job that never got resources has neither succeeded nor failed.
    guard other.hasAllocation else { return .impossible }
    switch self {
    case .start, .finish: return .impossible
    case .success: return result == .completed ? .met : .impossible
    case .failure: return result == .completed ? .impossible : .met
    case .except: return result != .completed && other.isEndedByException ? .met : .impossible
    }
  }

  /// Why a job that has ended already can never satisfy it, in Flux's words.
  func objection(toEnded other: Job, called id: String) -> String? {
    guard !other.isActive, verdict(other) == .impossible else { return nil }
    guard other.hasAllocation else { return "after: \(id) never started" }
    switch self {
    case .start, .finish: return "after: \(id) never started"
    case .success: return "afterok: job \(id) failed or was canceled"
    case .failure: return "afternotok: job \(id) succeeded"
    case .except: return "afterexcept: job \(id): no exception"
    }
  }
}
