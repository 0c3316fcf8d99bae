// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Which task runs on which node: in blocks, as flux-shell's default, or as a task map says. Pure.
struct TaskLayout: Hashable, Sendable {
  /// One task.
  struct Task: Hashable, Sendable {
    /// The task's rank in the job.
    var rank: Int
    /// Its number on its node.
    var localID: Int
    /// Its node's number in the job.
    var node: Int
    /// Its node's host name.
    var host: String
  }

  private(set) var tasks: [Task]
  /// The host names of the nodes.
  let hosts: [String]
  /// The ranks of the tasks of each node.
  private var byNode: [IDSet]
  /// RFC 34's form of it.
  private(set) var map: Taskmap

  var nodeCount: Int { hosts.count }

  /// Spreads the jobspec's tasks over the nodes of its allocation by the slots that each node holds.
  init(_ jobspec: Jobspec, _ resources: ResourceSet) {
    let coresPerSlot = max(jobspec.coresPerSlot, 1)
    let total = jobspec.taskCount
    let capacity = resources.ranks.map { max($0.cores.count / coresPerSlot, 1) }
    let counts = jobspec.nodeCount != nil ? Self.even(total, capacity.count) : Self.fill(total, capacity)
    hosts = resources.ranks.map(\.host)
    tasks = []
    byNode = [IDSet](repeating: IDSet(), count: hosts.count)
    map = Taskmap()
    for (node, count) in counts.enumerated() where count > 0 {
      for local in 0..<count {
        tasks.append(Task(rank: tasks.count, localID: local, node: node, host: hosts[node]))
      }
      byNode[node] = IDSet(tasks.count - count..<tasks.count)
      map.append(node: node, tasksPerNode: count)
    }
  }

  private static func even(_ total: Int, _ nodes: Int) -> [Int] {
    guard nodes > 0 else { return [] }
    return (0..<nodes).map { total / nodes + ($0 < total % nodes ? 1 : 0) }
  }

  /// Fills nodes in order; what does not fit (more tasks than slots) goes round.
  private static func fill(_ total: Int, _ capacity: [Int]) -> [Int] {
    guard !capacity.isEmpty else { return [] }
    var counts = [Int](repeating: 0, count: capacity.count)
    var left = total
    for node in capacity.indices {
      counts[node] = min(left, capacity[node])
      left -= counts[node]
    }
    let extra = even(left, capacity.count)
    return zip(counts, extra).map { $0 + $1 }
  }

  /// Why the tasks cannot run as a map says: it has other nodes or other tasks than there are, in Flux's words; none when a node has nothing to
  /// do, of which Flux says nothing either.
  struct Mismatch: Error, Hashable {
    var text: String?
  }

  /// Moves the tasks to where a map says.
  mutating func remap(_ new: Taskmap) throws(Mismatch) {
    if new.blocks.isEmpty { throw Mismatch(text: "mapping is unknown") }
    guard new.nodeCount == map.nodeCount else {
      throw Mismatch(text: "got \(new.nodeCount) nodes, expected \(map.nodeCount)")
    }
    guard new.taskCount == tasks.count else {
      throw Mismatch(text: "got \(new.taskCount) total tasks, expected \(tasks.count)")
    }
    var counts = [Int](repeating: 0, count: nodeCount)
    var moved: [Task] = []
    moved.reserveCapacity(tasks.count)
    for node in new.nodesOfTasks {
      moved.append(Task(rank: moved.count, localID: counts[node], node: node, host: hosts[node]))
      counts[node] += 1
    }
    guard !counts.prefix(new.nodeCount).contains(0) else { throw Mismatch() }
    tasks = moved
    map = new
    var ranks = [[Int]](repeating: [], count: nodeCount)
    for task in moved { ranks[task.node].append(task.rank) }
    byNode = ranks.map { IDSet($0) }
  }

  /// The ranks of the tasks of a node, without looking at those of others.
  func ranks(of node: Int) -> IDSet { byNode.indices.contains(node) ? byNode[node] : IDSet() }

  /// How many tasks a node has.
  func taskCount(of node: Int) -> Int { ranks(of: node).count }
}
