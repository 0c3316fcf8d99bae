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
    /// Which nodes it may have, by what they are; nil for any.
    var constraint: Constraint?
    /// The same by their ranks, once it is known which they are; see ``VirtualCluster/resolved(_:)``.
    var allowed: IDSet?

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
  /// The ranks of the nodes of each name.
  private let hosts: [String: IDSet]
  /// The ranks of all.
  private let ranks: IDSet

  init(_ all: ResourceSet) {
    self.all = all
    ranks = all.rankSet
    hosts = all.ranks.reduce(into: [:]) { $0[$1.host, default: []].insert($1.rank) }
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

  /// What a job would get of what is free on nodes that are up, those first that have most left (worst fit), as
  /// Flux's own scheduler does; nil when it does not fit.
  ///
  /// What fits in some resources also fits in any that have these among them: the scheduler counts on it.
  func place(_ demand: Demand) -> ResourceSet? { place(resolved(demand), in: nodes, except: down) }

  /// Why the demand can never be met, in the words of Flux's own scheduler, or nil when it can.
  func objection(to demand: Demand) -> String? {
    let demand = resolved(demand)
    guard demand.coresPerSlot > 0 else { return "cannot parse jobspec: Unable to determine slot size" }
    if place(demand, in: all.ranks, except: IDSet()) != nil { return nil }
    let candidates = candidates(for: demand)
    if demand.exclusive {
      let nodes = max(demand.nodes ?? 1, 1)
      let eligible = candidates.count {
        $0.cores.count >= demand.coresPerSlot && $0.gpus.count >= demand.gpusPerSlot
      }
      return "unsatisfiable request: need \(nodes) exclusive node(s), only \(eligible) eligible"
    }
    if let nodes = demand.nodes, nodes > 0 {
      let share = (demand.slots + nodes - 1) / nodes
      let cores = share * demand.coresPerSlot
      let gpus = share * demand.gpusPerSlot
      let eligible = candidates.count { $0.cores.count >= cores && $0.gpus.count >= gpus }
      return "unsatisfiable request: need \(nodes) node(s) with \(cores) cores\(gpus > 0 ? " and \(gpus) GPUs" : "") "
        + "each, only \(eligible) eligible"
    }
    let slots = candidates.reduce(0) { $0 + $1.cores.count / max(demand.coresPerSlot, 1) }
    if slots < demand.slots {
      let cores = candidates.reduce(0) { $0 + $1.cores.count }
      return "unsatisfiable request: need \(demand.slots) slot(s) of \(demand.coresPerSlot) core(s), "
        + "only \(slots) such slot(s) available (total cores: \(cores))"
    }
    let room = candidates.reduce(0) { $0 + self.room(in: $1, demand) }
    let gpus = candidates.reduce(0) { $0 + $1.gpus.count }
    return "unsatisfiable request: need \(demand.slots) slot(s) with \(demand.gpusPerSlot) GPU(s) each, "
      + "only \(room) available (total GPUs: \(gpus))"
  }

  /// The nodes that the demand's constraint allows, with all that they have.
  private func candidates(for demand: Demand) -> [ResourceSet.Rank] {
    all.ranks.filter { demand.allowed?.contains($0.rank) ?? true }
  }

  private func place(_ demand: Demand, in nodes: [ResourceSet.Rank], except down: IDSet) -> ResourceSet? {
    let isAllowed = { (node: ResourceSet.Rank) in
      !down.contains(node.rank) && demand.allowed?.contains(node.rank) ?? true
    }
    let chosen =
      if let count = demand.nodes { placeNodes(demand, count, nodes, isAllowed) } else {
        placeSlots(demand, nodes, isAllowed)
      }
    return chosen.map { ResourceSet(ranks: $0) }
  }

  /// `count` nodes with an even share of the slots each.
  private func placeNodes(
    _ demand: Demand, _ count: Int, _ nodes: [ResourceSet.Rank], _ isAllowed: (ResourceSet.Rank) -> Bool
  ) -> [ResourceSet.Rank]? {
    guard count > 0, count <= nodes.count else { return nil }
    let share = (demand.slots + count - 1) / count
    let candidates = nodes.filter {
      guard room(in: $0, demand) >= share, isAllowed($0) else { return false }
      return !demand.exclusive || (all.ranks.indices.contains($0.rank) && all.ranks[$0.rank] == $0)
    }
    guard candidates.count >= count else { return nil }
    let chosen = Self.emptiestFirst(candidates).prefix(count)
    return demand.exclusive ? Array(chosen) : chosen.map { take(share, from: $0, demand) }
  }

  private func placeSlots(
    _ demand: Demand, _ nodes: [ResourceSet.Rank], _ isAllowed: (ResourceSet.Rank) -> Bool
  ) -> [ResourceSet.Rank]? {
    let candidates = nodes.filter { room(in: $0, demand) > 0 && isAllowed($0) }
    guard candidates.reduce(0, { $0 + room(in: $1, demand) }) >= demand.slots else { return nil }
    var left = demand.slots
    var chosen: [ResourceSet.Rank] = []
    for node in Self.emptiestFirst(candidates) where left > 0 {
      let count = min(left, room(in: node, demand))
      chosen.append(take(count, from: node, demand))
      left -= count
    }
    return chosen
  }

  /// The order of equals stays that of their ranks: `sorted` is stable.
  private static func emptiestFirst(_ nodes: [ResourceSet.Rank]) -> [ResourceSet.Rank] {
    nodes.sorted { ($0.cores.count, $0.gpus.count) > ($1.cores.count, $1.gpus.count) }
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

// MARK: - Constraints

extension VirtualCluster {
  /// The same demand with the nodes that its constraint allows in the constraint's place. Nodes stay what they are, so a job that waits is asked once.
  func resolved(_ demand: Demand) -> Demand {
    guard let constraint = demand.constraint else { return demand }
    var resolved = demand
    resolved.constraint = nil
    resolved.allowed = nodes(matching: constraint)
    return resolved
  }

  /// The ranks of the nodes that match. What it says of each node, `Constraint.matches` says as well.
  func nodes(matching constraint: Constraint) -> IDSet {
    func every(_ operands: [Constraint]) -> IDSet {
      operands.reduce(ranks) { $0.intersection(nodes(matching: $1)) }
    }
    switch constraint {
    case .properties(let names):
      return names.reduce(ranks) { found, name in
        guard name.hasPrefix("^") else { return found.intersection(nodes(having: name)) }
        return found.subtracting(nodes(having: String(name.dropFirst())))
      }
    case .hostlist(let names): return IDSet.union(of: Set(names).compactMap { hosts[$0] })
    case .ranks(let chosen): return ranks.intersection(chosen)
    case .not(let operands): return ranks.subtracting(every(operands))
    case .and(let operands): return every(operands)
    case .or(let operands):
      return operands.isEmpty ? ranks : IDSet.union(of: operands.map(nodes(matching:)))
    }
  }

  /// A node has its name as a property.
  private func nodes(having property: String) -> IDSet {
    (all.properties[property] ?? []).union(hosts[property] ?? []).intersection(ranks)
  }
}
