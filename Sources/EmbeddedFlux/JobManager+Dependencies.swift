// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// Ordinary dependencies (RFC 26): `after`, `afterany`, `afterok`, `afternotok`; every other scheme is a plugin's.
extension JobManager {
  private static let schemes: Set<String> = ["after", "afterany", "afterok", "afternotok"]

  func add(_ dependency: Dependency, to job: Job) throws(ServiceError) {
    guard Self.schemes.contains(dependency.scheme) else { return try plugins.dependency(dependency, of: job) }
    let prefix = "dependency: \(dependency.scheme): "
    guard let id = try? JobID(parsing: dependency.value) else {
      throw ServiceError(.invalid, "\(prefix)\"\(dependency.value)\" is not a valid jobid")
    }
    guard let other = jobs[id], other !== job else {
      throw ServiceError(.invalid, "\(prefix)id \(id.encoded(.f58)): job not found")
    }
    let description = "\(dependency.scheme)=\(id.encoded(.f58))"
    switch Self.verdict(dependency.scheme, other) {
    case .met: return
    case .impossible: throw ServiceError(.invalid, "\(prefix)id \(id.encoded(.f58)): \(Self.impossible)")
    case .open: addDependency(job, description)
    }
  }

  /// Makes a job wait for something that has this description. Known descriptions change nothing.
  func addDependency(_ job: Job, _ description: String) {
    let isKnown = (job.eventlog + job.pending).contains {
      $0.name == "dependency-add" && $0.context?["description"]?.stringValue == description
    }
    if !isKnown { post(job, "dependency-add", ["description": .string(description)]) }
  }

  /// A job has reached another state: whoever waits for that goes on.
  func resolveDependants(of job: Job, _ entry: EventlogEntry) {
    guard job.state == .run || job.state == .inactive, !dependants.isEmpty else { return }
    let id = job.id.encoded(.f58)
    for waiting in dependants.values {
      for description in waiting.dependencies where description.hasSuffix("=" + id) {
        let scheme = String(description.dropLast(id.count + 1))
        guard Self.schemes.contains(scheme) else { continue }
        switch Self.verdict(scheme, job) {
        case .met: post(waiting, "dependency-remove", ["description": .string(description)])
        case .impossible:
          raise(waiting, type: "dependency", severity: 0, note: "\(scheme): id \(id): \(Self.impossible)")
        case .open: break
        }
      }
    }
  }

  private enum Verdict { case met, impossible, open }
  private static let impossible = "dependency can never be satisfied"

  private static func verdict(_ scheme: String, _ other: Job) -> Verdict {
    if scheme == "after" {
      if other.times[.run] != nil { return .met }
      return other.isActive ? .open : .impossible
    }
    guard let result = other.result else { return .open }
    switch scheme {
    case "afterok": return result == .completed ? .met : .impossible
    case "afternotok": return result == .completed ? .impossible : .met
    default: return .met
    }
  }
}
