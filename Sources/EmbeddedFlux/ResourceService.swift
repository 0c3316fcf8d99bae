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

  func handle(_ request: Request) throws(ServiceError) {
    let all = manager.cluster.all
    let none = ResourceSet(ranks: [], startTime: 0, expiration: 0, properties: [:])
    switch request.topic {
    case "resource.sched-status", "sched.resource-status":
      broker.respond(
        request, ["all": all.json, "down": none.json, "allocated": manager.cluster.allocated.json])
    case "resource.status":
      broker.respond(
        request,
        [
          "R": all.json, "drain": [:], "online": .string(all.rankSet.description), "offline": "", "exclude": "",
          "torpid": "",
        ])
    case "feasibility.check": try check(request)
    default: throw Broker.unknownMethod(request)
    }
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
