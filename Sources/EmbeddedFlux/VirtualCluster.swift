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
  private(set) var allocated: ResourceSet

  init(_ all: ResourceSet) {
    self.all = all
    allocated = ResourceSet(ranks: [], startTime: 0, expiration: 0, properties: [:])
  }

  /// What nobody has.
  var free: ResourceSet { all.subtracting(allocated) }

  /// Takes resources for a job, first fit in rank order.
  ///
  /// - Returns: nil when they are not free now.
  mutating func allocate(_ demand: Demand, start: Double, duration: Double) -> ResourceSet? {
    guard var found = place(demand, in: free) else { return nil }
    found.startTime = start
    found.expiration = duration > 0 ? start + duration : 0
    allocated = allocated.union(found)
    return found
  }

  /// Takes what a job has already.
  mutating func take(_ resources: ResourceSet) { allocated = allocated.union(resources) }

  /// Gives a job's resources back.
  mutating func release(_ resources: ResourceSet) { allocated = allocated.subtracting(resources) }

  /// Why the demand can never be met, or nil when it can.
  func objection(to demand: Demand) -> String? {
    if place(demand, in: all) != nil { return nil }
    let cores = "\(demand.coresPerSlot) core(s)"
    let gpus = demand.gpusPerSlot > 0 ? " and \(demand.gpusPerSlot) gpu(s)" : ""
    let nodes = demand.nodes.map { "\($0) node(s) with " } ?? ""
    return "unsatisfiable request: need \(nodes)\(demand.slots) slot(s) of \(cores)\(gpus), "
      + "the instance has \(all.nodeCount) node(s), \(all.coreCount) core(s), \(all.gpuCount) gpu(s)"
  }

  private func place(_ demand: Demand, in available: ResourceSet) -> ResourceSet? {
    let candidates = available.ranks.filter { rank in
      guard let constraint = demand.constraint else { return true }
      return constraint.matches(rank: rank.rank, host: rank.host) { all.properties[$0]?.contains(rank.rank) ?? false }
    }
    let chosen = demand.nodes.map { placeNodes(demand, $0, candidates) } ?? placeSlots(demand, candidates)
    return chosen.map { ResourceSet(ranks: $0, startTime: 0, expiration: 0, properties: [:]) }
  }

  /// `nodes` nodes with an even share of the slots each.
  private func placeNodes(_ demand: Demand, _ nodes: Int, _ candidates: [ResourceSet.Rank]) -> [ResourceSet.Rank]? {
    guard nodes > 0 else { return nil }
    let share = (demand.slots + nodes - 1) / nodes
    var chosen: [ResourceSet.Rank] = []
    for rank in candidates where chosen.count < nodes && room(in: rank, demand) >= share {
      guard demand.exclusive else {
        chosen.append(take(share, from: rank, demand))
        continue
      }
      guard all.ranks.indices.contains(rank.rank), all.ranks[rank.rank] == rank else { continue }
      chosen.append(rank)
    }
    return chosen.count == nodes ? chosen : nil
  }

  private func placeSlots(_ demand: Demand, _ candidates: [ResourceSet.Rank]) -> [ResourceSet.Rank]? {
    var left = demand.slots
    var chosen: [ResourceSet.Rank] = []
    for rank in candidates where left > 0 {
      let count = min(left, room(in: rank, demand))
      guard count > 0 else { continue }
      chosen.append(take(count, from: rank, demand))
      left -= count
    }
    return left == 0 ? chosen : nil
  }

  private func room(in rank: ResourceSet.Rank, _ demand: Demand) -> Int {
    let byCores = rank.cores.count / max(demand.coresPerSlot, 1)
    return demand.gpusPerSlot > 0 ? min(byCores, rank.gpus.count / demand.gpusPerSlot) : byCores
  }

  private func take(_ slots: Int, from rank: ResourceSet.Rank, _ demand: Demand) -> ResourceSet.Rank {
    var taken = rank
    taken.cores = IDSet(rank.cores.prefix(slots * demand.coresPerSlot))
    taken.gpus = IDSet(rank.gpus.prefix(slots * demand.gpusPerSlot))
    return taken
  }
}
