// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The job queues (RFC 33): those of `[queues]` in the configuration, or, without any, one without a name. Pure.
struct Queues {
  /// One queue.
  struct Queue {
    /// The properties that its nodes have; nil when it takes any.
    var requires: [JSON]?
    /// What its jobs have when they say nothing else.
    var defaults: JSONObject = [:]
    var isEnabled = true
    var disableReason = ""
    var isStarted: Bool
    var stopReason: String?
  }

  /// The most queues of a configuration.
  static let maximum = 4096
  /// The longest reason why one is disabled or stopped, in bytes.
  static let maximumReason = 4096

  private(set) var named: [String: Queue] = [:]
  /// Who was enabled and started before the instance was started again, until the configuration names them.
  private var remembered: JSONObject = [:]
  /// The names as the configuration has them.
  private(set) var names: [String] = []
  private var anonymous = Queue(isStarted: true)
  /// What all jobs have when they say nothing else: `policy.jobspec.defaults.system`.
  private var defaults: JSONObject = [:]
  /// Whether the configuration says anything of queues or defaults, so that jobs are changed on their way in.
  private(set) var changesJobs = false

  /// Takes a configuration over. Queues that stay keep their state; new ones are enabled and stopped, as in Flux.
  ///
  /// - Throws: EINVAL with Flux's words; then nothing has changed.
  mutating func configure(_ configuration: JSON) throws(ServiceError) {
    let tables = try Self.tables(configuration["queues"])
    try Self.check(policy: configuration["policy"])
    let general = configuration["policy"]?["jobspec"]?["defaults"]
    let defaults = general?["system"]?.objectValue ?? [:]
    if let name = defaults["queue"]?.stringValue, tables[name] == nil {
      throw Self.invalid("the [policy] config table defines a default queue \(name) that is not in [queues] table")
    }
    var next: [String: Queue] = [:]
    for (name, table) in tables {
      var queue = named[name] ?? remembered[name].map(Self.queue) ?? Queue(isStarted: false)
      queue.requires = table["requires"]?.arrayValue
      queue.defaults = table["policy"]?["jobspec"]?["defaults"]?["system"]?.objectValue ?? [:]
      next[name] = queue
    }
    for given in [defaults] + next.values.map(\.defaults) {
      if let duration = given["duration"], Self.seconds(duration) == nil {
        throw Self.invalid("error parsing [policy] config table: the default duration is not valid")
      }
    }
    if !next.isEmpty || !named.isEmpty { anonymous = Queue(isStarted: true) }
    named = next
    names = Array(tables.keys)
    self.defaults = defaults
    changesJobs = configuration["queues"] != nil || general != nil
  }

  private static func tables(_ value: JSON?) throws(ServiceError) -> JSONObject {
    guard let value else { return [:] }
    guard let tables = value.objectValue else { throw invalid("error parsing [queues] config table: not a table") }
    guard tables.count <= maximum else { throw invalid("there are more than \(maximum) queues") }
    for (name, value) in tables {
      let start = "error parsing [queues.\(name)] config table: "
      guard let table = value.objectValue else { throw invalid("\(start)Expected object, got \(value.kind)") }
      let unknown = table.keys.filter { $0 != "requires" && $0 != "policy" }
      guard unknown.isEmpty else {
        throw invalid("\(start)\(unknown.count) object item(s) left unpacked: \(unknown.joined(separator: ", "))")
      }
      guard let requires = table["requires"] else { continue }
      guard let list = requires.arrayValue, list.allSatisfy({ $0.stringValue != nil }) else {
        throw invalid("\(start)'requires' must be an array of property strings (RFC 20)")
      }
    }
    return tables
  }

  /// The tables of `[policy]`; of these the limits, access and scheduler are taken and mean nothing here.
  private static let policies: Set<String> = ["jobspec", "limits", "access", "scheduler"]

  private static func check(policy: JSON?) throws(ServiceError) {
    guard let policy else { return }
    let start = "error parsing [policy] config table: "
    guard let table = policy.objectValue else { throw invalid("\(start)Expected object, got \(policy.kind)") }
    let unknown = table.keys.filter { !policies.contains($0) }
    guard unknown.isEmpty else {
      throw invalid("\(start)\(unknown.count) object item(s) left unpacked: \(unknown.joined(separator: ", "))")
    }
    if let duration = table["limits"]?["duration"], seconds(duration) == nil {
      throw invalid("error parsing [policy.limits] config table: 'duration' is not a valid FSD")
    }
  }

  private static func invalid(_ text: String) -> ServiceError { ServiceError(.invalid, text) }

  // MARK: Looking

  /// A queue; nil is the one without a name.
  func queue(_ name: String?) throws(ServiceError) -> Queue {
    guard let name else {
      guard named.isEmpty else { throw Self.invalid("a named queue is required") }
      return anonymous
    }
    guard let queue = named[name] else { throw Self.invalid("'\(name)' is not a valid queue") }
    return queue
  }

  /// Whether jobs of a queue are given to the scheduler. Those of a queue that is gone are not.
  func isStarted(_ name: String?) -> Bool { (try? queue(name))?.isStarted ?? false }

  /// What `flux queue status` shows.
  func status(_ name: String?) throws(ServiceError) -> JSON {
    let queue = try queue(name)
    var status: JSONObject = ["enable": .bool(queue.isEnabled), "start": .bool(queue.isStarted)]
    if !queue.isEnabled { status["disable_reason"] = .string(queue.disableReason) }
    if !queue.isStarted, let reason = queue.stopReason { status["stop_reason"] = .string(reason) }
    return .object(status)
  }

  // MARK: Jobs on their way in

  /// The jobspec with what the configuration adds: the default queue and other defaults, and what its queue requires.
  func completed(_ jobspec: Jobspec) throws(ServiceError) -> Jobspec {
    guard changesJobs else { return jobspec }
    var jobspec = jobspec
    let name = jobspec.queue ?? defaults["queue"]?.stringValue
    if name == nil, !named.isEmpty { throw ServiceError(.notPermitted, "no queue specified") }
    var defaults = defaults
    if let name {
      guard let queue = named[name] else {
        throw ServiceError(.notPermitted, "Invalid queue '\(name)' specified")
      }
      for (key, value) in queue.defaults { defaults[key] = value }
    }
    for (key, value) in defaults {
      if key == "duration" {
        if jobspec.duration == 0, let seconds = Self.seconds(value) {
          jobspec.set(attribute: "system.duration", to: .double(seconds))
        }
      } else if jobspec.json["attributes"]?["system"]?[key] == nil {
        jobspec.set(attribute: "system.\(key)", to: value)
      }
    }
    if let name, let requires = named[name]?.requires { Self.require(requires, &jobspec) }
    return jobspec
  }

  private static func seconds(_ value: JSON) -> Double? {
    let seconds = value.doubleValue ?? value.stringValue.flatMap { try? StandardDuration(parsing: $0) }?.seconds
    return seconds.flatMap { $0 >= 0 ? $0 : nil }
  }

  private static func require(_ properties: [JSON], _ jobspec: inout Jobspec) {
    let path = "system.constraints"
    guard let present = jobspec.json["attributes"]?["system"]?["constraints"] else {
      return jobspec.set(attribute: path, to: ["properties": .array(properties)])
    }
    if let own = present["properties"]?.arrayValue {
      jobspec.set(attribute: path + ".properties", to: .array(own + properties.filter { !own.contains($0) }))
    } else {
      jobspec.set(attribute: path, to: ["and": [present, ["properties": .array(properties)]]])
    }
  }

  /// Whether a job may be submitted to a queue.
  func checkSubmission(to name: String?) throws(ServiceError) {
    let queue = try queue(name)
    guard queue.isEnabled else {
      throw Self.invalid("job submission\(name.map { " to \($0)" } ?? "") is disabled: \(queue.disableReason)")
    }
  }

  /// Checks that a job may go to another queue, and says what its constraints are there.
  func constraints(in name: String, from current: String?, _ present: JSON?) throws(ServiceError) -> JSON {
    if current == name { throw Self.invalid("job queue is already set to \(name)") }
    let next = try queue(name)
    guard next.isEnabled else { throw Self.invalid("queue \(name) is currently disabled") }
    let expected = try queue(current).requires.map { JSON.object(["properties": .array($0)]) } ?? [:]
    guard present ?? [:] == expected else {
      throw Self.invalid(
        "job appears to have non-queue constraints, unable to update queue to \(current ?? "(null)")")
    }
    return next.requires.map { ["properties": .array($0)] } ?? [:]
  }

  // MARK: Administration

  private static func check(reason: String?) throws(ServiceError) {
    guard reason?.utf8.count ?? 0 <= maximumReason else {
      throw invalid("a reason has at most \(maximumReason) bytes")
    }
  }

  /// Enables or disables submission to a queue, or to all.
  mutating func enable(_ name: String?, _ isEnabled: Bool, reason: String?) throws(ServiceError) {
    try Self.check(reason: reason)
    try change(name) { queue in
      queue.isEnabled = isEnabled
      queue.disableReason = reason ?? ""
    }
  }

  /// Starts or stops a queue, or all.
  mutating func start(_ name: String?, _ isStarted: Bool, reason: String?) throws(ServiceError) {
    try Self.check(reason: reason)
    try change(name) { queue in
      queue.isStarted = isStarted
      queue.stopReason = isStarted ? nil : reason
    }
  }

  // MARK: The state directory

  /// What is kept of the queues: not what they are, which is the configuration's, but who is enabled and started.
  var saved: JSON {
    var saved = remembered
    saved[""] = Self.saved(anonymous)
    for (name, queue) in named { saved[name] = Self.saved(queue) }
    return .object(saved)
  }

  /// Takes what ``saved`` was.
  mutating func restore(_ saved: JSON) {
    remembered = saved.objectValue ?? [:]
    if let found = remembered[""], named.isEmpty { anonymous = Self.queue(found) }
    for name in names {
      guard let found = remembered[name].map(Self.queue) else { continue }
      named[name]?.isEnabled = found.isEnabled
      named[name]?.disableReason = found.disableReason
      named[name]?.isStarted = found.isStarted
      named[name]?.stopReason = found.stopReason
    }
  }

  private static func saved(_ queue: Queue) -> JSON {
    var saved: JSONObject = ["enabled": .bool(queue.isEnabled), "started": .bool(queue.isStarted)]
    if !queue.disableReason.isEmpty { saved["disabled"] = .string(queue.disableReason) }
    saved["stopped"] = queue.stopReason.map { .string($0) }
    return .object(saved)
  }

  private static func queue(_ saved: JSON) -> Queue {
    Queue(
      isEnabled: saved["enabled"]?.boolValue ?? true, disableReason: saved["disabled"]?.stringValue ?? "",
      isStarted: saved["started"]?.boolValue ?? true, stopReason: saved["stopped"]?.stringValue)
  }

  private mutating func change(_ name: String?, _ body: (inout Queue) -> Void) throws(ServiceError) {
    guard let name else {
      for name in names { named[name].map { named[name] = Self.changed($0, body) } }
      if names.isEmpty { body(&anonymous) }
      return
    }
    named[name] = Self.changed(try queue(name), body)
  }

  private static func changed(_ queue: Queue, _ body: (inout Queue) -> Void) -> Queue {
    var queue = queue
    body(&queue)
    return queue
  }
}
