// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `kvs.commit`, as far as an agent needs it: appending to the logs of a job that nothing is run for, and its R.
final class KVSService: Service {
  private static let append: Int64 = 32
  private unowned let broker: Broker
  private unowned let manager: JobManager

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  func handle(_ request: Request) throws(ServiceError) {
    guard request.method == "commit" else { throw Broker.unknownMethod(request) }
    let namespace = try request.string("namespace")
    for operation in request.payload["ops"]?.arrayValue ?? [] { try apply(operation, namespace) }
    broker.respond(request, ["rootref": "", "rootseq": 0])
  }

  private func apply(_ operation: JSON, _ namespace: String) throws(ServiceError) {
    guard let key = operation["key"]?.stringValue, let data = operation["dirent"]?["data"]?.stringValue,
      let bytes = try? Base64.decode(data), let text = String(validating: bytes, as: UTF8.self)
    else { throw ServiceError(.protocolError, "kvs.commit: an operation has no key or no value that is text") }
    if namespace == "primary", key.hasPrefix("job."), key.hasSuffix(".R") {
      // The plugin gives the job its R; this copy has no place here.
      guard let id = try? JobID(parsing: String(key.dropLast(2))), manager.jobs[id] != nil else {
        throw ServiceError(.noEntry)
      }
      return
    }
    guard namespace.hasPrefix("job-"), let id = try? JobID(parsing: String(namespace.dropFirst(4))),
      let job = manager.jobs[id], operation["flags"]?.intValue == Self.append,
      let log = ["output": JobManager.GuestLog.output, "exec.eventlog": .exec][key]
    else {
      throw ServiceError(.notImplemented, "kvs.commit: this instance has no KVS but for the logs of jobs")
    }
    guard let executor = manager.executor else { throw ServiceError(Errnum(95)) }
    for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
      try executor.append(line + "\n", to: log, of: job)
    }
  }
}

/// `job-exec.override`: a job starts and ends when a client says so (jobs with `exec.test.override`).
final class OverrideService: Service {
  private unowned let broker: Broker
  private unowned let manager: JobManager

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  func handle(_ request: Request) throws(ServiceError) {
    guard request.method == "override" else { throw Broker.unknownMethod(request) }
    guard let id = JobID(request.payload["jobid"]) else { throw .malformed(request.topic, "jobid") }
    let job = try manager.job(id, unknown: ServiceError(.noEntry, "Job not found"))
    let status = WaitStatus(rawValue: Int32(truncatingIfNeeded: request.payload["status"]?.intValue ?? 0))
    guard let executor = manager.executor else { throw ServiceError(.noEntry, "Job not found") }
    try executor.override(job, event: try request.string("event"), status: status)
    broker.respond(request)
  }
}
