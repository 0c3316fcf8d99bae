// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// An instance's resources by state, and its queues.
struct ResourceReport: Sendable {
  /// The states that can be asked for.
  enum State: String, CaseIterable, Sendable {
    case up, down, allocated, free, all
  }

  private let sets: [State: ResourceSet]
  /// The queues in the configuration's order, and the properties that each requires; nil when it requires none.
  private let queues: [(name: String, requires: Set<String>?)]
  private let properties: [String: IDSet]

  /// Reads the answer to `resource.sched-status` and the configuration.
  init(_ status: JSON, config: JSON) throws {
    let all = try Self.set(status, "all")
    let down = try Self.set(status, "down")
    let allocated = try Self.set(status, "allocated")
    let up = all.subtracting(down)
    sets = [.all: all, .down: down, .allocated: allocated, .up: up, .free: up.subtracting(allocated)]
    properties = all.properties
    queues = (config["queues"]?.objectValue ?? [:]).map { name, queue in
      (name, queue["requires"]?.arrayValue.map { Set($0.compactMap(\.stringValue)) })
    }
  }

  private static func set(_ status: JSON, _ key: String) throws -> ResourceSet {
    guard let json = status[key], !json.isNull else { return ResourceSet(ranks: []) }
    return try ResourceSet(json)
  }

  /// The resources in a state.
  subscript(state: State) -> ResourceSet { sets[state] ?? ResourceSet(ranks: []) }

  /// The table's lines: one for each set of nodes that differ in a field that the table shows.
  ///
  /// - Parameter fields: the table's fields.
  func lines(_ states: [State], fields: [String]) -> [ResourceLine] {
    let distinct = ["state", "queue", "properties", "propertiesx"].filter {
      fields.contains($0) && (fields.count > 1 || fields.contains("state"))
    }
    var order: [[String]] = []
    var groups: [[String]: ResourceLine] = [:]
    for state in states {
      let resources = self[state]
      for line in resources.isEmpty ? emptyLines(state) : resources.ranks.map({ self.line(state, $0) }) {
        let key = distinct.map { line.value(of: $0).text }
        if groups[key] == nil { order.append(key) }
        groups[key] = groups[key].map { $0.adding(line) } ?? line
      }
    }
    return order.compactMap { groups[$0] }
  }

  private func emptyLines(_ state: State) -> [ResourceLine] {
    let names = queues.isEmpty ? [""] : queues.map(\.name)
    return names.map {
      ResourceLine(
        state: state.rawValue, queue: $0, properties: "", otherProperties: "", resources: ResourceSet(ranks: []))
    }
  }

  private func line(_ state: State, _ rank: ResourceSet.Rank) -> ResourceLine {
    let own = Set(properties.filter { $0.value.contains(rank.rank) }.keys)
    let memberships = queues.filter { $0.requires?.isSubset(of: own) ?? true }.map(\.name)
    return ResourceLine(
      state: state.rawValue, queue: memberships.joined(separator: ","),
      properties: own.sorted().joined(separator: ","),
      otherProperties: own.subtracting(queues.map(\.name)).sorted().joined(separator: ","),
      resources: ResourceSet(ranks: [rank]))
  }
}
