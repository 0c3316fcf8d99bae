// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `kvs`, as far as an agent needs it: the namespaces of jobs that nothing is run for here, whose logs a client writes, and their R; and a few
/// values under `delegate.`.
///
/// A job's logs are in one place, and its directory `guest` is always what its namespace has: to a client that asks where they are, each is a
/// link to the namespace (RFC 11).
final class KVSService: Service {
  private static let append: Int64 = 32
  private static let treeObject: Int64 = 16
  private unowned let broker: Broker
  private unowned let manager: JobManager

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  private enum Topic: String, ServiceTopic {
    case commit = "kvs.commit"
    case lookup = "kvs.lookup"
    case namespaceCreate = "kvs.namespace-create"
    case namespaceRemove = "kvs.namespace-remove"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    guard request.isOwner else { throw ServiceError(.notPermitted) }
    switch try Topic(request) {
    case .commit:
      let namespace = try request.string("namespace")
      for operation in request.payload["ops"]?.arrayValue ?? [] { try apply(operation, namespace) }
      broker.respond(request, ["rootref": "", "rootseq": 0])
    case .lookup: try lookup(request)
    case .namespaceCreate:
      let job = try job(of: try request.string("namespace"), unknown: ServiceError(.notImplemented, Self.limits))
      guard !job.hasNamespace else { throw ServiceError(.exists) }
      try manager.openNamespace(of: job)
      broker.respond(request)
    case .namespaceRemove:
      manager.removeNamespace(of: try job(of: try request.string("namespace")))
      broker.respond(request)
    }
  }

  private static let limits = "this instance has no KVS but for the logs of jobs"

  /// The job that a namespace belongs to. ENOTSUP: there is none, as Flux says it.
  private func job(of namespace: String, unknown: ServiceError = ServiceError(.notSupported)) throws(ServiceError)
    -> Job
  {
    guard namespace.hasPrefix("job-"), let id = try? JobID(parsing: String(namespace.dropFirst(4))),
      let job = manager.jobs[id]
    else { throw unknown }
    return job
  }

  // MARK: Writing

  private func apply(_ operation: JSON, _ namespace: String) throws(ServiceError) {
    guard let key = operation["key"]?.stringValue, let entry = operation["dirent"] else {
      throw ServiceError(.protocolError, "kvs.commit: an operation has no key or no value")
    }
    // A null takes a key away.
    let text = entry.isNull ? "" : try Self.text(of: entry, key)
    if namespace == "primary" {
      if key.hasPrefix(Self.ownKeys) { return try set(key, to: entry.isNull ? nil : text) }
      return try applyToDirectory(key)
    }
    let job = try job(of: namespace)
    guard job.hasNamespace else { throw ServiceError(.notSupported) }
    guard let log = ["output": JobManager.GuestLog.output, "exec.eventlog": .exec][key]
    else { throw ServiceError(.notImplemented, "kvs.commit: \(Self.limits)") }
    if entry.isNull || operation["flags"]?.intValue != Self.append { manager.empty(log, of: job) }
    for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
      manager.write(line + "\n", to: log, of: job)
    }
  }

  private static func text(of entry: JSON, _ key: String) throws(ServiceError) -> String {
    // Links and directories are not looked into.
    guard entry["type"]?.stringValue == "val" else { return "" }
    guard let bytes = try? Base64.decode(entry["data"]?.stringValue ?? ""),
      let text = String(validating: bytes, as: UTF8.self)
    else { throw ServiceError(.protocolError, "kvs.commit: \(key): the value is no text") }
    return text
  }

  /// The keys under which values are kept, how many, and how long they may be in bytes.
  private static let ownKeys = "delegate."
  private static let maximumValues = 16
  private static let maximumLength = 1 << 20

  private func set(_ key: String, to value: String?) throws(ServiceError) {
    guard manager.values.count < Self.maximumValues || manager.values[key] != nil, key.utf8.count <= 256,
      value?.utf8.count ?? 0 <= Self.maximumLength
    else { throw ServiceError(.overflow, "kvs.commit: \(Self.limits)") }
    manager.values[key] = value.map { .string($0) }
    manager.keepValues()
  }

  /// The plugin gives a job its R, and its logs are where they stay: what is written of them has no place here.
  private func applyToDirectory(_ key: String) throws(ServiceError) {
    guard key.hasPrefix("job."), let name = [".R", ".guest"].first(where: { key.hasSuffix($0) }) else {
      throw ServiceError(.notImplemented, "kvs.commit: \(Self.limits)")
    }
    guard let id = try? JobID(parsing: String(key.dropLast(name.count))), manager.jobs[id] != nil else {
      throw ServiceError(.noEntry)
    }
  }

  // MARK: Reading

  private func lookup(_ request: Request) throws(ServiceError) {
    let namespace = try request.string("namespace")
    let key = try request.string("key")
    let isTree = (request.payload["flags"]?.intValue ?? 0) & Self.treeObject != 0
    if namespace == "primary", key.hasPrefix(Self.ownKeys) {
      guard let value = manager.values[key]?.stringValue else { throw ServiceError(.noEntry) }
      let data = Base64.encode(value.utf8)
      return broker.respond(request, ["val": ["ver": 1, "type": "val", "data": .string(data)]])
    }
    if namespace == "primary", key == "resource.R" {
      let data = Base64.encode(manager.cluster.all.json.text.utf8)
      return broker.respond(request, ["val": ["ver": 1, "type": "val", "data": .string(data)]])
    }
    if namespace == "primary" {
      guard isTree, key.hasPrefix("job."), key.hasSuffix(".guest"),
        let id = try? JobID(parsing: String(key.dropLast(6))), let job = manager.jobs[id]
      else { throw ServiceError(.notImplemented, "kvs.lookup: \(Self.limits)") }
      return broker.respond(request, ["val": Self.link(job)])
    }
    let job = try job(of: namespace)
    guard job.hasNamespace else { throw ServiceError(.notSupported) }
    switch key {
    case "." where isTree: broker.respond(request, ["val": Self.link(job)])
    case "exec.eventlog":
      guard !job.execLog.isEmpty else { throw ServiceError(.noEntry) }
      let text = Base64.encode(job.execLog.joined().utf8)
      broker.respond(request, ["val": ["ver": 1, "type": "val", "data": .string(text)]])
    default: throw ServiceError(.notImplemented, "kvs.lookup: \(Self.limits)")
    }
  }

  private static func link(_ job: Job) -> JSON {
    [
      "ver": 1, "type": "symlink",
      "data": ["namespace": .string("job-\(job.id.encoded(.dec))"), "target": "."],
    ]
  }
}
