// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// Dependencies that are about no other job in particular: `begin-time` and `singleton`. With Flux's words.
extension JobManager {
  private static let beginTime = "begin-time="
  private static let singleton = "singleton"
  /// The longest that is waited at once, in seconds: the clock may be set meanwhile.
  private static let longestWait = 3600.0

  // MARK: A time

  func addBeginTime(_ value: String, to job: Job) throws(ServiceError) {
    guard let time = Double(value), time.isFinite, time >= 0 else {
      throw ServiceError(.invalid, "Invalid begin-time=\(value)")
    }
    let description = Self.beginTime + Self.decimal(time)
    addDependency(job, description)
    wait(job, description, until: time)
  }

  /// With three decimals, as Flux writes it.
  private static func decimal(_ time: Double) -> String {
    let thousandths = Int64(min((time * 1000).rounded(), 9e17))
    let fraction = String(thousandths % 1000)
    return "\(thousandths / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
  }

  private func wait(_ job: Job, _ description: String, until time: Double) {
    _ = broker.after(min(max(time - broker.now(), 0), Self.longestWait)) { [weak self, weak job] in
      guard let self, let job, job.state == .depend, job.dependencies.contains(description) else { return }
      guard broker.now() >= time else { return wait(job, description, until: time) }
      post(job, "dependency-remove", ["description": .string(description)])
    }
  }

  // MARK: Others of its name

  func addSingleton(to job: Job) throws(ServiceError) {
    guard let name = job.givenName else { throw ServiceError(.invalid, "singleton jobs require a job name") }
    if singletons.isTaken(name) { addDependency(job, Self.singleton) }
  }

  /// A job was accepted.
  func enter(singleton job: Job) {
    guard let name = job.givenName else { return }
    singletons.add(name)
    let waits = job.pending.contains {
      $0.name == "dependency-add" && $0.context?["description"]?.stringValue == Self.singleton
    }
    if waits { letGo(singleton: singletons.wait(job.id, name)) }
  }

  /// A job has ended.
  func leave(singleton job: Job) {
    if let name = job.givenName { letGo(singleton: singletons.remove(job.id, name)) }
  }

  private func letGo(singleton id: JobID?) {
    guard let job = id.flatMap({ jobs[$0] }) else { return }
    post(job, "dependency-remove", ["description": .string(Self.singleton)])
  }

  // MARK: A restart

  /// Goes on with such a dependency of a job that was there before. Returns whether it is one: a description that was posted as an event may
  /// only look like it.
  func resumeBuiltIn(_ description: String, of job: Job) -> Bool {
    if description == Self.singleton, let name = job.givenName {
      letGo(singleton: singletons.wait(job.id, name))
      return true
    }
    guard description.hasPrefix(Self.beginTime), let time = Double(description.dropFirst(Self.beginTime.count)),
      time.isFinite
    else { return false }
    wait(job, description, until: time)
    return true
  }
}
