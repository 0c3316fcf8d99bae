// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-ingest.submit`: checks a jobspec and hands the job to the job manager.
final class IngestService: Service {
  private unowned let broker: Broker
  private unowned let manager: JobManager
  private lazy var knownHosts = Set(manager.cluster.all.hostlist)
  private static let allowedFlags = 2 | 4 | 8

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  private enum Topic: String, ServiceTopic {
    case submit = "job-ingest.submit"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .submit: try submit(request)
    }
  }

  private func submit(_ request: Request) throws(ServiceError) {
    guard let signed = request.payload["J"]?.stringValue, let urgency = request.payload["urgency"]?.intValue,
      let flags = request.payload["flags"]?.intValue
    else { throw ServiceError(.protocolError, "error decoding job request: Protocol error") }
    guard flags >= 0, Int(flags) & ~Self.allowedFlags == 0 else {
      throw ServiceError(.protocolError, "invalid job flags")
    }
    guard (0...31).contains(urgency) else { throw ServiceError(.invalid, "urgency range is [0:31]") }
    let envelope: SignedJobspec
    do { envelope = try SignedJobspec(parsing: signed) } catch {
      throw ServiceError(.invalid, "could not unwrap jobspec: Invalid argument")
    }
    guard envelope.userID == request.userID else {
      throw ServiceError(.notPermitted, "signer=\(envelope.userID) != requestor=\(request.userID)")
    }
    let body = JobBody(
      signed: signed, jobspec: try jobspec(envelope.jobspec), isCompleted: manager.queues.changesJobs)
    let job = Job(
      id: manager.newID(), userID: request.userID, urgency: Int(urgency), flags: Int(flags), body: body)
    try manager.add(job)
    broker.respond(request, ["id": job.id.json])
  }

  private func jobspec(_ text: String) throws(ServiceError) -> Jobspec {
    let json: JSON
    do { json = try JSON(parsing: text) } catch { throw ServiceError(.invalid, "jobspec: invalid JSON: \(error)") }
    let jobspec: Jobspec
    let submitted: Jobspec
    do { submitted = try Jobspec(json) } catch { throw ServiceError(.notPermitted, error.message) }
    jobspec = try manager.queues.completed(submitted)
    try Self.check(sizeOf: jobspec)
    if let constraint = jobspec.constraints { try check(constraint) }
    return jobspec
  }

  /// The most tasks of a job: each is a process of this machine.
  private static let maximumTasks = 65_536
  /// The most nodes, slots, cores or GPUs that a job may ask for. Beyond it nothing could be counted without overflow.
  private static let maximumCount = 1 << 30

  static func check(sizeOf jobspec: Jobspec) throws(ServiceError) {
    let slots = jobspec.slotCount
    let (cores, coresOverflow) = slots.multipliedReportingOverflow(by: jobspec.coresPerSlot)
    let (gpus, gpusOverflow) = slots.multipliedReportingOverflow(by: jobspec.gpusPerSlot)
    let counts = [
      slots, cores, gpus, jobspec.coresPerSlot, jobspec.gpusPerSlot, jobspec.nodeCount ?? 0,
    ]
    guard !coresOverflow, !gpusOverflow, counts.allSatisfy({ $0 <= Self.maximumCount }) else {
      throw ServiceError(.invalid, "the job asks for more than \(Self.maximumCount) nodes, slots, cores or gpus")
    }
    guard jobspec.taskCount <= Self.maximumTasks else {
      throw ServiceError(.invalid, "the job has \(jobspec.taskCount) tasks, more than \(Self.maximumTasks)")
    }
  }

  /// A host that the instance does not have is a mistake, as Flux's validator says.
  private func check(_ constraint: Constraint) throws(ServiceError) {
    switch constraint {
    case .hostlist(let hosts):
      for host in hosts where !knownHosts.contains(host) {
        throw ServiceError(.notPermitted, "host constraint contains invalid hosts: host '\(host)' not found")
      }
    case .not(let parts), .and(let parts), .or(let parts): for part in parts { try check(part) }
    case .properties, .ranks: break
    }
  }
}
