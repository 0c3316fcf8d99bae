// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Which task runs on which node: in blocks, as flux-shell's default. Pure.
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

  let tasks: [Task]
  let nodeCount: Int

  /// Spreads the jobspec's tasks over the nodes of its allocation by the slots that each node holds.
  init(_ jobspec: Jobspec, _ resources: ResourceSet) {
    let coresPerSlot = max(jobspec.coresPerSlot, 1)
    let total = jobspec.taskCount
    let capacity = resources.ranks.map { max($0.cores.count / coresPerSlot, 1) }
    let counts = jobspec.nodeCount != nil ? Self.even(total, capacity.count) : Self.fill(total, capacity)
    var tasks: [Task] = []
    for (node, count) in counts.enumerated() {
      for local in 0..<count {
        tasks.append(Task(rank: tasks.count, localID: local, node: node, host: resources.ranks[node].host))
      }
    }
    self.tasks = tasks
    nodeCount = resources.ranks.count
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

  /// RFC 34 task map of a block layout: runs of nodes with equal counts.
  var taskMap: JSON {
    var counts = [Int](repeating: 0, count: nodeCount)
    for task in tasks { counts[task.node] += 1 }
    var blocks: [JSON] = []
    var start = 0
    while start < counts.count {
      var end = start
      while end < counts.count && counts[end] == counts[start] { end += 1 }
      blocks.append([.int(Int64(start)), .int(Int64(end - start)), .int(Int64(counts[start])), 1])
      start = end
    }
    return ["version": 1, "map": .array(blocks)]
  }

  /// The same as MPI libraries want it from PMI; nil when it is too long for that.
  var processMapping: String? {
    let blocks = (taskMap["map"]?.arrayValue ?? []).filter { $0[2] != 0 }
    let words = blocks.map { "(\($0[0]?.text ?? ""),\($0[1]?.text ?? ""),\($0[2]?.text ?? ""))" }
    let text = "(vector,\(words.joined(separator: ",")))"
    return text.utf8.count < PMIServer.maximumValue ? text : nil
  }

  /// How many tasks a node has.
  func taskCount(of node: Int) -> Int { tasks.count { $0.node == node } }
}
