// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// Ordinary dependencies (RFC 26): `after`, `afterany`, `afterok`, `afternotok`, `begin-time`, `singleton`; every other scheme is a plugin's.
extension JobManager {
  private static let schemes: Set<String> = ["after", "afterany", "afterok", "afternotok"]

  func add(_ dependency: Dependency, to job: Job) throws(ServiceError) {
    if dependency.scheme == "begin-time" { return try addBeginTime(dependency.value, to: job) }
    if dependency.scheme == "singleton" { return try addSingleton(to: job) }
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
    case .open:
      addDependency(job, description)
      dependants[id, default: []].append(job)
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
    guard job.state == .run || job.state == .inactive, let waiting = dependants[job.id] else { return }
    if job.state == .inactive { dependants[job.id] = nil }
    let id = job.id.encoded(.f58)
    for waiter in waiting where waiter.state == .depend {
      for description in waiter.dependencies where description.hasSuffix("=" + id) {
        let scheme = String(description.dropLast(id.count + 1))
        switch Self.verdict(scheme, job) {
        case .met: post(waiter, "dependency-remove", ["description": .string(description)])
        case .impossible:
          raise(waiter, type: "dependency", severity: 0, note: "\(scheme): id \(id): \(Self.impossible)")
        case .open: break
        }
      }
    }
  }

  /// What a job waits for may have come while the instance was away; what is a plugin's waits for the plugin.
  func resumeDependencies(of job: Job) {
    for description in job.dependencies {
      if resumeBuiltIn(description, of: job) { continue }
      guard let split = description.firstIndex(of: "="), Self.schemes.contains(String(description[..<split])) else {
        continue
      }
      let scheme = String(description[..<split])
      let value = String(description[description.index(after: split)...])
      let other = (try? JobID(parsing: value)).flatMap { jobs[$0] }
      switch other.map({ Self.verdict(scheme, $0) }) ?? .impossible {
      case .met: post(job, "dependency-remove", ["description": .string(description)])
      case .impossible:
        raise(job, type: "dependency", severity: 0, note: "\(scheme): id \(value): \(Self.impossible)")
      case .open: if let other { dependants[other.id, default: []].append(job) }
      }
    }
    if job.state == .depend, job.dependencies.isEmpty { post(job, "depend") }
  }

  private enum Verdict { case met, impossible, open }
  private static let impossible = "dependency can never be satisfied"

  private static func verdict(_ scheme: String, _ other: Job) -> Verdict {
    if scheme == "after" {
      if other.times[.run] != nil { return .met }
      return other.isActive ? .open : .impossible
    }
    guard let result = other.outcome else { return .open }
    switch scheme {
    case "afterok": return result == .completed ? .met : .impossible
    // A job that never started has not failed either.
    case "afternotok": return result == .completed || other.times[.run] == nil ? .impossible : .met
    default: return .met
    }
  }
}
