// SPDX-License-Identifier: LGPL-3.0-only

/// Which task runs on which node of a job (Flux RFC 34): blocks of nodes that each take the next tasks in turn.
///
/// Reads what flux-core reads: the JSON of RFC 34, with or without its envelope, PMI's process mapping, and the raw form, the task ids of
/// each node (`0-1;2-3`).
public struct Taskmap: Hashable, Sendable {
  /// So many nodes from a first one, each with the next so many tasks; the whole so many times.
  public struct Block: Hashable, Sendable {
    /// The first node's number in the job.
    public var start: Int
    /// How many nodes there are.
    public var nodes: Int
    /// How many tasks each of them takes.
    public var tasksPerNode: Int
    /// How many times.
    public var repeats: Int
  }

  /// Numbers are what a C `int` holds, as in flux-core.
  private static let maximum = Int(Int32.max)

  /// The blocks, in the order of the tasks.
  public private(set) var blocks: [Block] = []

  /// The map of no tasks: it is not known where they are.
  public init() {}

  /// Adds the next tasks: so many on each of so many nodes. What has the form of the last block becomes a part of it.
  public mutating func append(node: Int, nodes: Int = 1, tasksPerNode: Int) {
    guard let last = blocks.last else {
      return blocks.append(Block(start: node, nodes: nodes, tasksPerNode: tasksPerNode, repeats: 1))
    }
    let end = blocks.count - 1
    if node == last.start + last.nodes, tasksPerNode == last.tasksPerNode, last.repeats == 1 {
      blocks[end].nodes += nodes
      joinRepeats()
    } else if last.start == node, last.nodes == 1, nodes == 1 {
      blocks[end].tasksPerNode += tasksPerNode
      joinRepeats()
    } else if last.start == node, last.nodes == nodes, last.tasksPerNode == tasksPerNode {
      blocks[end].repeats += 1
    } else {
      blocks.append(Block(start: node, nodes: nodes, tasksPerNode: tasksPerNode, repeats: 1))
    }
  }

  /// The last block may have become what the one before it is.
  private mutating func joinRepeats() {
    guard blocks.count > 1, let last = blocks.last else { return }
    let before = blocks[blocks.count - 2]
    guard before.start == last.start, before.nodes == last.nodes, before.tasksPerNode == last.tasksPerNode else {
      return
    }
    blocks[blocks.count - 2].repeats += last.repeats
    blocks.removeLast()
  }

  /// How many nodes there are: one more than the greatest number of a node.
  public var nodeCount: Int { blocks.map { $0.start + $0.nodes }.max() ?? 0 }

  /// How many tasks there are; what is more than can be counted is the greatest number.
  public var taskCount: Int {
    blocks.reduce(0) { sum, block in
      let (round, first) = block.nodes.multipliedReportingOverflow(by: block.tasksPerNode)
      let (all, second) = round.multipliedReportingOverflow(by: block.repeats)
      let (total, third) = sum.addingReportingOverflow(all)
      return first || second || third ? .max : total
    }
  }

  /// The node of each task, in the order of the tasks. As long as there are tasks: look at ``taskCount`` first.
  public var nodesOfTasks: [Int] {
    var result: [Int] = []
    for block in blocks {
      for _ in 0..<block.repeats {
        for node in block.start..<block.start + block.nodes {
          result.append(contentsOf: repeatElement(node, count: block.tasksPerNode))
        }
      }
    }
    return result
  }

  // MARK: Writing

  /// RFC 34 with its envelope.
  public var json: JSON {
    let map = blocks.map { block in
      JSON.array([block.start, block.nodes, block.tasksPerNode, block.repeats].map { .int(Int64($0)) })
    }
    return ["version": 1, "map": .array(map)]
  }

  /// The process mapping that PMI gives to MPI libraries (RFC 13); nil when it is longer than they take.
  ///
  /// - Parameter limit: how many bytes it may have.
  public func processMapping(limit: Int) -> String? {
    if blocks.isEmpty { return "" }
    var text = "(vector"
    for block in blocks {
      for _ in 0..<block.repeats {
        text += ",(\(block.start),\(block.nodes),\(block.tasksPerNode))"
        guard text.utf8.count < limit else { return nil }
      }
    }
    return text + ")"
  }
}

// MARK: - Reading

extension Taskmap {
  /// Reads any of the forms, with flux-core's words for what is wrong.
  ///
  /// - Throws: ``FormatError`` with code `taskmap`.
  public init(parsing text: String) throws(FormatError) {
    self.init()
    if text.isEmpty { return }
    if text.contains("vector,") {
      self = try Self.fromProcessMapping(text)
    } else if text.contains(where: { "({[]})".contains($0) }) {
      let json: JSON
      do throws(FormatError) { json = try JSON(parsing: text) } catch { throw Self.error(error.message) }
      try self.init(json)
    } else {
      self = try Self.fromTaskIDs(text)
    }
  }

  /// Reads RFC 34's JSON.
  public init(_ json: JSON) throws(FormatError) {
    self.init()
    var array = json
    if json.objectValue != nil {
      guard let version = json["version"] else { throw Self.error("Object item not found: version") }
      guard let number = version.intValue else { throw Self.error("Expected integer, got \(version.kind)") }
      guard let map = json["map"] else { throw Self.error("Object item not found: map") }
      guard number == 1 else { throw Self.error("expected version=1, got \(number)") }
      array = map
    } else if json.arrayValue == nil {
      throw Self.error("taskmap must be an object or array")
    }
    guard let entries = array.arrayValue else { throw Self.error("taskmap must be an array") }
    for (index, entry) in entries.enumerated() {
      guard let values = entry.arrayValue else { throw Self.error("entry \(index) in taskmap is not an array") }
      blocks.append(try Self.block(values))
    }
  }

  private static func block(_ values: [JSON]) throws(FormatError) -> Block {
    var numbers: [Int] = []
    for index in 0..<4 {
      guard values.indices.contains(index) else {
        throw error("error in taskmap entry: Array index \(index) out of range")
      }
      guard let number = values[index].intValue else {
        throw error("error in taskmap entry: Expected integer, got \(values[index].kind)")
      }
      numbers.append(Int(clamping: number))
    }
    let isPossible = numbers[0] >= 0 && !numbers[1...].contains { $0 <= 0 } && !numbers.contains { $0 > maximum }
    guard isPossible else {
      throw error("invalid entry [\(numbers.map(String.init).joined(separator: ","))]")
    }
    return Block(start: numbers[0], nodes: numbers[1], tasksPerNode: numbers[2], repeats: numbers[3])
  }

  private static func fromProcessMapping(_ text: String) throws(FormatError) -> Taskmap {
    var map = Taskmap()
    var isBegun = false
    for piece in text.split(separator: "(") {
      let word = piece.drop(while: \.isWhitespace)
      if word.hasPrefix("vector,") {
        isBegun = true
        continue
      }
      if word.isEmpty { continue }
      guard isBegun else { throw error("vector prefix must precede blocklist") }
      guard let close = word.firstIndex(of: ")") else { throw error("unable to parse block: (\(word.excerpt)") }
      let numbers = word[..<close].split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
      guard numbers.count == 3, let start = numbers[0], let nodes = numbers[1], let tasks = numbers[2] else {
        throw error("unable to parse block: (\(word.excerpt)")
      }
      guard (0...maximum).contains(start), (1...maximum).contains(nodes), (1...maximum).contains(tasks) else {
        throw error("invalid number in block: (\(word.excerpt)")
      }
      map.append(node: start, nodes: nodes, tasksPerNode: tasks)
    }
    guard map.taskCount > 0 else { throw error("no tasks found in PMI_process_mapping") }
    return map
  }

  /// A run of tasks on one node.
  private struct Run {
    var ids: ClosedRange<Int>
    var node: Int
  }

  private static func fromTaskIDs(_ text: String) throws(FormatError) -> Taskmap {
    var runs: [Run] = []
    for (node, ids) in text.split(separator: ";").enumerated() {
      let set: IDSet
      do throws(FormatError) { set = try IDSet(parsing: String(ids)) } catch { throw Self.error(error.message) }
      runs += set.ranges.map { Run(ids: $0, node: node) }
    }
    runs.sort { $0.ids.lowerBound < $1.ids.lowerBound }
    var map = Taskmap()
    var next = 0
    for run in runs {
      try check(run.ids, after: next)
      map.append(node: run.node, tasksPerNode: run.ids.count)
      next = run.ids.upperBound + 1
    }
    return map
  }

  /// Every task has to be on one node.
  private static func check(_ ids: ClosedRange<Int>, after next: Int) throws(FormatError) {
    let start = ids.lowerBound
    if start < next {
      let end = min(next - 1, ids.upperBound)
      throw error(
        "duplicate taskid\(start == end ? "" : "s") specified: \(start == end ? "\(start)" : "\(start)-\(end)")")
    }
    guard start == next else {
      let end = start - 1
      throw error("missing taskid\(next == end ? "" : "s"): \(next == end ? "\(next)" : "\(next)-\(end)")")
    }
  }

  private static func error(_ message: String) -> FormatError { FormatError(.taskmap, message) }
}
