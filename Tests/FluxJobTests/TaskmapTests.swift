// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

/// Task maps (RFC 34): all forms that Flux 0.88 reads, and its words for those that it does not.
@Suite struct TaskmapTests {
  @Test(arguments: [
    ("[[0,2,2,1]]", [0, 0, 1, 1], "(vector,(0,2,2))"), ("[[0,2,1,2]]", [0, 1, 0, 1], "(vector,(0,2,1),(0,2,1))"),
    (#"{"version":1,"map":[[1,1,2,1],[0,1,2,1]]}"#, [1, 1, 0, 0], "(vector,(1,1,2),(0,1,2))"),
    ("(vector,(0,2,1),(0,2,1))", [0, 1, 0, 1], "(vector,(0,2,1),(0,2,1))"),
    ("0,3;1-2", [0, 1, 1, 0], "(vector,(0,1,1),(1,1,2),(0,1,1))"), ("0-1;2-3", [0, 0, 1, 1], "(vector,(0,2,2))"),
    ("0", [0], "(vector,(0,1,1))"), ("", [], ""),
  ]) func forms(_ text: String, _ nodes: [Int], _ mapping: String) throws {
    let map = try Taskmap(parsing: text)
    #expect(map.nodesOfTasks == nodes && map.taskCount == nodes.count)
    #expect(map.processMapping(limit: 1024) == mapping)
    #expect(try Taskmap(map.json) == map)
  }

  @Test(arguments: [
    ("x", "error parsing range 'x'"), ("0-1;1-3", "duplicate taskid specified: 1"),
    ("0-3;1-2", "duplicate taskids specified: 1-2"), ("0;2-3", "missing taskid: 1"), ("0;3", "missing taskids: 1-2"),
    ("[[0,2,2]]", "error in taskmap entry: Array index 3 out of range"),
    (#"[[0,2,"2",1]]"#, "error in taskmap entry: Expected integer, got string"),
    ("[[0,2,0,1]]", "invalid entry [0,2,0,1]"), ("[3]", "entry 0 in taskmap is not an array"),
    (#"{"version":2,"map":[]}"#, "expected version=1, got 2"), (#"{"map":[]}"#, "Object item not found: version"),
    (#"{"version":1,"map":3}"#, "taskmap must be an array"),
    ("vector,(1", "unable to parse block: (1"), ("(1,2,3),vector,", "vector prefix must precede blocklist"),
    ("(vector,(0,1,0))", "invalid number in block: (0,1,0))"),
    ("(vector,)", "no tasks found in PMI_process_mapping"),
  ]) func mistakes(_ text: String, _ words: String) {
    do {
      _ = try Taskmap(parsing: text)
      Issue.record("\(text) is no map")
    } catch { #expect(error.message == words) }
  }

  /// What has the form of the last block becomes a part of it, as in Flux.
  @Test func joining() {
    var map = Taskmap()
    for node in [0, 1, 0, 1, 0, 0, 1, 1] { map.append(node: node, tasksPerNode: 1) }
    #expect(map.json.text == #"{"version":1,"map":[[0,2,1,2],[0,1,2,1],[1,1,2,1]]}"#)
    #expect(map.nodesOfTasks == [0, 1, 0, 1, 0, 0, 1, 1] && map.nodeCount == 2)
  }

  /// Numbers that nobody can mean cost nothing.
  @Test func endless() throws {
    let number = Int32.max
    let map = try Taskmap(parsing: "[[\(number),\(number),\(number),\(number)]]")
    #expect(map.taskCount == .max && map.processMapping(limit: 1024) == nil)
    #expect(map.nodeCount == 2 * Int(number))
    #expect(throws: FormatError.self) { try Taskmap(parsing: "[[0,1,1,9223372036854775807]]") }
  }
}
