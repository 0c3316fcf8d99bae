// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The instance's nodes, which of their cores and GPUs are taken, and what a job can have. Pure.
struct VirtualCluster: Sendable {
  /// What a jobspec asks for.
  struct Demand: Hashable, Sendable {
    /// Whole nodes asked for; nil spreads slots wherever there is room.
    var nodes: Int?
    /// Whether nodes are taken whole.
    var exclusive: Bool
    var slots: Int
    var coresPerSlot: Int
    var gpusPerSlot: Int
    var constraint: Constraint?

    init(_ jobspec: Jobspec) {
      nodes = jobspec.nodeCount
      exclusive = jobspec.exclusive
      slots = jobspec.slotCount
      coresPerSlot = jobspec.coresPerSlot
      gpusPerSlot = jobspec.gpusPerSlot
      constraint = jobspec.constraints
    }
  }

  /// All nodes; the node of rank N is the N-th.
  let all: ResourceSet
  /// What nobody has of each node.
  private var nodes: [ResourceSet.Rank]
  /// How many cores nobody has.
  private(set) var freeCores: Int
  /// The ranks that get no more jobs; what runs there goes on.
  var down = IDSet()

  init(_ all: ResourceSet) {
    self.all = all
    nodes = all.ranks
    freeCores = all.coreCount
  }

  /// What somebody has.
  var allocated: ResourceSet {
    var allocated = all.subtracting(ResourceSet(ranks: nodes.filter { !$0.cores.isEmpty || !$0.gpus.isEmpty }))
    allocated.properties = [:]
    return allocated
  }

  /// Takes what a job gets, or has already. What these nodes do not have is left out.
  mutating func take(_ resources: ResourceSet) {
    for rank in resources.ranks where nodes.indices.contains(rank.rank) {
      freeCores -= nodes[rank.rank].cores.count
      nodes[rank.rank].cores.subtract(rank.cores)
      nodes[rank.rank].gpus.subtract(rank.gpus)
      freeCores += nodes[rank.rank].cores.count
    }
  }

  /// Gives a job's resources back.
  mutating func release(_ resources: ResourceSet) {
    for rank in resources.ranks where nodes.indices.contains(rank.rank) {
      let whole = all.ranks[rank.rank]
      freeCores -= nodes[rank.rank].cores.count
      nodes[rank.rank].cores.formUnion(rank.cores.intersection(whole.cores))
      nodes[rank.rank].gpus.formUnion(rank.gpus.intersection(whole.gpus))
      freeCores += nodes[rank.rank].cores.count
    }
  }

  /// What a job would get of what is free on nodes that are up, first fit in rank order; nil when it does not fit.
  ///
  /// What fits in some resources also fits in any that have these among them: the scheduler counts on it.
  func place(_ demand: Demand) -> ResourceSet? { place(demand, in: nodes, except: down) }

  /// Why the demand can never be met, or nil when it can.
  func objection(to demand: Demand) -> String? {
    if place(demand, in: all.ranks, except: IDSet()) != nil { return nil }
    let cores = "\(demand.coresPerSlot) core(s)"
    let gpus = demand.gpusPerSlot > 0 ? " and \(demand.gpusPerSlot) gpu(s)" : ""
    let nodes = demand.nodes.map { "\($0) node(s) with " } ?? ""
    return "unsatisfiable request: need \(nodes)\(demand.slots) slot(s) of \(cores)\(gpus), "
      + "the instance has \(all.nodeCount) node(s), \(all.coreCount) core(s), \(all.gpuCount) gpu(s)"
  }

  private func place(_ demand: Demand, in nodes: [ResourceSet.Rank], except down: IDSet) -> ResourceSet? {
    let isAllowed = { (node: ResourceSet.Rank) in !down.contains(node.rank) && matches(node, demand.constraint) }
    let chosen =
      if let count = demand.nodes { placeNodes(demand, count, nodes, isAllowed) } else {
        placeSlots(demand, nodes, isAllowed)
      }
    return chosen.map { ResourceSet(ranks: $0) }
  }

  private func matches(_ node: ResourceSet.Rank, _ constraint: Constraint?) -> Bool {
    guard let constraint else { return true }
    return constraint.matches(rank: node.rank, host: node.host) { all.properties[$0]?.contains(node.rank) ?? false }
  }

  /// `count` nodes with an even share of the slots each.
  private func placeNodes(
    _ demand: Demand, _ count: Int, _ nodes: [ResourceSet.Rank], _ isAllowed: (ResourceSet.Rank) -> Bool
  ) -> [ResourceSet.Rank]? {
    guard count > 0, count <= nodes.count else { return nil }
    let share = (demand.slots + count - 1) / count
    var chosen: [ResourceSet.Rank] = []
    for node in nodes where room(in: node, demand) >= share && isAllowed(node) {
      guard demand.exclusive else {
        chosen.append(take(share, from: node, demand))
        if chosen.count == count { return chosen }
        continue
      }
      guard all.ranks.indices.contains(node.rank), all.ranks[node.rank] == node else { continue }
      chosen.append(node)
      if chosen.count == count { return chosen }
    }
    return nil
  }

  private func placeSlots(
    _ demand: Demand, _ nodes: [ResourceSet.Rank], _ isAllowed: (ResourceSet.Rank) -> Bool
  ) -> [ResourceSet.Rank]? {
    var left = demand.slots
    var chosen: [ResourceSet.Rank] = []
    for node in nodes where left > 0 {
      let count = min(left, room(in: node, demand))
      guard count > 0, isAllowed(node) else { continue }
      chosen.append(take(count, from: node, demand))
      left -= count
    }
    return left == 0 ? chosen : nil
  }

  private func room(in node: ResourceSet.Rank, _ demand: Demand) -> Int {
    let byCores = node.cores.count / max(demand.coresPerSlot, 1)
    return demand.gpusPerSlot > 0 ? min(byCores, node.gpus.count / demand.gpusPerSlot) : byCores
  }

  private func take(_ slots: Int, from node: ResourceSet.Rank, _ demand: Demand) -> ResourceSet.Rank {
    var taken = node
    taken.cores = IDSet(node.cores.prefix(slots * demand.coresPerSlot))
    taken.gpus = IDSet(node.gpus.prefix(slots * demand.gpusPerSlot))
    return taken
  }
}
