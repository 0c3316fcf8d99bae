// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `resource` and `feasibility`: the instance's nodes, and whether they could ever run a job.
final class ResourceService: Service {
  private unowned let broker: Broker
  private unowned let manager: JobManager

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
  }

  private enum Topic: String, ServiceTopic {
    case allocated = "resource.sched-status"
    case schedulerStatus = "sched.resource-status"
    case status = "resource.status"
    case drain = "resource.drain"
    case undrain = "resource.undrain"
    case feasibility = "feasibility.check"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    let all = manager.cluster.all
    switch try Topic(request) {
    case .allocated, .schedulerStatus:
      broker.respond(
        request, ["all": all.json, "down": manager.down.json, "allocated": manager.cluster.allocated.json])
    case .status:
      broker.respond(
        request,
        [
          "R": all.json, "drain": manager.drained.json, "online": .string(all.rankSet.description), "offline": "",
          "exclude": "",
          "torpid": "",
        ])
    case .drain: try drain(request)
    case .undrain: try undrain(request)
    case .feasibility: try check(request)
    }
  }

  private func drain(_ request: Request) throws(ServiceError) {
    let ranks = try DrainedNodes.targets(try request.string("targets"), of: manager.cluster.all)
    var drained = manager.drained
    try drained.drain(
      ranks, reason: request.payload["reason"]?.stringValue, mode: request.payload["mode"]?.stringValue,
      at: broker.now())
    manager.setDrained(drained)
    broker.respond(request)
  }

  private func undrain(_ request: Request) throws(ServiceError) {
    let ranks = try DrainedNodes.targets(try request.string("targets"), of: manager.cluster.all)
    var drained = manager.drained
    try drained.undrain(ranks, mode: request.payload["mode"]?.stringValue)
    manager.setDrained(drained)
    broker.respond(request)
  }

  private func check(_ request: Request) throws(ServiceError) {
    let jobspec: Jobspec
    do { jobspec = try Jobspec(request.payload["jobspec"] ?? [:]) } catch {
      throw ServiceError(.invalid, error.message)
    }
    try IngestService.check(sizeOf: jobspec)
    if let objection = manager.cluster.objection(to: VirtualCluster.Demand(jobspec)) {
      throw ServiceError(.overflow, objection)
    }
    broker.respond(request)
  }
}
