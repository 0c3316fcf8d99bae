// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What listings show of a job's jobspec and resources: all that is kept of them once it has ended.
struct JobDigest {
  let name: String
  let taskCount: Int
  let duration: Double
  /// Attributes of the jobspec, by name.
  let attributes: JSONObject
  let coreCount: Int?
  let nodeCount: Int?
  let ranks: String?
  let hosts: String?
  let expiration: Double?

  /// The attributes of the jobspec that can be asked for as they are.
  private static let attributeNames = ["cwd", "queue", "project", "bank"]

  init(_ body: JobBody) {
    name = body.jobspec.name
    taskCount = body.jobspec.taskCount
    let system = body.current["attributes"]?["system"]
    duration = system?["duration"]?.doubleValue ?? 0
    var attributes = JSONObject()
    for name in Self.attributeNames { attributes[name] = system?[name] }
    self.attributes = attributes
    let resources = body.resources
    coreCount = resources?.coreCount ?? body.jobspec.slotCount * body.jobspec.coresPerSlot
    nodeCount = resources?.nodeCount ?? body.jobspec.nodeCount
    ranks = resources.map { $0.rankSet.bracketed }
    hosts = resources.map { $0.hostlist.description }
    expiration = resources?.expiration
  }

  /// Takes what ``json`` has written.
  init(_ json: JSON) {
    name = json["name"]?.stringValue ?? ""
    taskCount = Int(clamping: json["ntasks"]?.intValue ?? 0)
    duration = json["duration"]?.doubleValue ?? 0
    attributes = json["attributes"]?.objectValue ?? [:]
    coreCount = json["ncores"]?.intValue.map { Int(clamping: $0) }
    nodeCount = json["nnodes"]?.intValue.map { Int(clamping: $0) }
    ranks = json["ranks"]?.stringValue
    hosts = json["nodelist"]?.stringValue
    expiration = json["expiration"]?.doubleValue
  }

  var json: JSONObject {
    var object: JSONObject = [
      "name": .string(name), "ntasks": .int(Int64(taskCount)), "duration": .double(duration),
    ]
    if !attributes.isEmpty { object["attributes"] = .object(attributes) }
    object["ncores"] = coreCount.map { .int(Int64($0)) }
    object["nnodes"] = nodeCount.map { .int(Int64($0)) }
    object["ranks"] = ranks.map { .string($0) }
    object["nodelist"] = hosts.map { .string($0) }
    object["expiration"] = expiration.map { .double($0) }
    return object
  }

  /// What `job-list` shows of the resources under a name.
  func allocated(_ name: String) -> JSON? {
    switch name {
    case "ncores": coreCount.map { .int(Int64($0)) }
    case "nnodes": nodeCount.map { .int(Int64($0)) }
    case "ranks": ranks.map { .string($0) }
    case "nodelist": hosts.map { .string($0) }
    default: expiration.map { .double($0) }
    }
  }
}
