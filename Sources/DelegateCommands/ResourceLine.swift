// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A line of `resource list`.
struct ResourceLine: TableFormat.Row, Sendable {
  var state: String
  /// The queues that the nodes are in, separated by commas.
  var queue: String
  /// The nodes' properties, separated by commas.
  var properties: String
  /// The same without those that only say which queue a node is in.
  var otherProperties: String
  var resources: ResourceSet

  /// A field's heading; nil when there is no such field.
  static let heading: @Sendable (String) -> String? = { name in
    [
      "state": "STATE", "queue": "QUEUE", "properties": "PROPERTIES", "propertiesx": "PROPERTIES",
      "nnodes": "NNODES", "ncores": "NCORES", "ngpus": "NGPUS", "ranks": "RANKS", "nodelist": "NODELIST",
    ][name]
  }

  /// The same line with another's resources too.
  func adding(_ other: ResourceLine) -> ResourceLine {
    var result = self
    result.resources = resources.union(other.resources)
    return result
  }

  func value(of field: String) -> FieldValue {
    switch field {
    case "state": .text(state)
    case "queue": .text(queue)
    case "properties": .text(properties)
    case "propertiesx": .text(otherProperties)
    case "nnodes": .int(Int64(resources.nodeCount))
    case "ncores": .int(Int64(resources.coreCount))
    case "ngpus": .int(Int64(resources.gpuCount))
    case "ranks": .text(resources.rankSet.description)
    case "nodelist": .text(resources.hostlist.description)
    default: .none
    }
  }
}
