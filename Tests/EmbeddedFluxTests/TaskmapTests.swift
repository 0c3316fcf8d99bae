// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

@testable import EmbeddedFlux

/// `--taskmap`, and what is told of a job's processes. As a Flux 0.88 was seen to do.
@Suite struct TaskmapTests {
  private static func layout(nodes: Int = 2, tasks: Int = 4) throws -> TaskLayout {
    let ranks = (0..<nodes).map { ResourceSet.Rank(rank: $0, host: "node\($0)", cores: [0, 1]) }
    return TaskLayout(try InstanceTests.jobspec(["true"], tasks: tasks), ResourceSet(ranks: ranks))
  }

  private static func map(_ scheme: String, _ value: String = "", directory: String = "/", tasks: Int = 4) throws
    -> TaskLayout
  {
    var layout = try layout(tasks: tasks)
    let option: JSON = ["scheme": .string(scheme), "value": .string(value)]
    try TaskmapOption(option, directory: directory)?.apply(to: &layout)
    return layout
  }

  @Test(arguments: [
    ("block", "", "[[0,2,2,1]]", [0, 1, 0, 1]), ("cyclic", "", "[[0,2,1,2]]", [0, 0, 1, 1]),
    ("cyclic", "2", "[[0,2,2,1]]", [0, 1, 0, 1]), ("cyclic", "9", "[[0,2,2,1]]", [0, 1, 0, 1]),
    ("manual", "[[1,1,2,1],[0,1,2,1]]", "[[1,1,2,1],[0,1,2,1]]", [0, 1, 0, 1]),
    ("manual", "0,3;1-2", "[[0,1,1,1],[1,1,2,1],[0,1,1,1]]", [0, 0, 1, 1]),
    ("manual", "0;1-3", "[[0,1,1,1],[1,1,3,1]]", [0, 0, 1, 2]),
  ]) func schemes(_ scheme: String, _ value: String, _ map: String, _ localIDs: [Int]) throws {
    let layout = try Self.map(scheme, value)
    #expect(layout.map.json["map"]?.text == map && layout.tasks.map(\.localID) == localIDs)
    #expect(layout.tasks.map(\.rank) == [0, 1, 2, 3] && layout.tasks.allSatisfy { $0.host == "node\($0.node)" })
  }

  @Test func unevenTasks() throws {
    #expect(try Self.map("cyclic", tasks: 3).map.json["map"] == [[0, 2, 1, 1], [0, 1, 1, 1]])
  }

  @Test(
    arguments: [
      (["scheme": "block", "value": "3"], ["FATAL block taskmap does not accept a value (got 3)"]),
      (["scheme": "nosuch"], ["FATAL failed to map tasks with scheme=nosuch"]),
      (["scheme": "manual", "value": "x"], ["FATAL taskmap=x: error parsing range 'x'"]),
      (
        ["scheme": "manual", "value": "[[0,1,4,1]]"],
        ["invalid taskmap: got 1 nodes, expected 2", "FATAL failed to set new shell taskmap"]
      ),
      (
        ["scheme": "manual", "value": "[[0,2,1,1]]"],
        ["invalid taskmap: got 2 total tasks, expected 4", "FATAL failed to set new shell taskmap"]
      ),
      (
        ["scheme": "manual", "value": "[[0,2,2147483647,2147483647]]"],
        [
          "invalid taskmap: got \(Int(Int32.max) * Int(Int32.max) * 2) total tasks, expected 4",
          "FATAL failed to set new shell taskmap",
        ]
      ),
      (
        ["scheme": "manual", "value": ""],
        ["invalid taskmap: mapping is unknown", "FATAL failed to set new shell taskmap"]
      ),
      (["scheme": "manual", "value": "[[1,1,4,1]]"], ["FATAL failed to set new shell taskmap"]),
      (
        ["scheme": "cyclic", "value": "x"],
        [
          "taskmap.cyclic: invalid cyclic stride: x", "plugin 'taskmap.cyclic': taskmap.cyclic failed",
          "taskmap.cyclic failed", "FATAL shell_taskmap",
        ]
      ),
      (
        ["scheme": "hostfile", "value": "nosuch"],
        [
          "taskmap.hostfile: failed to open hostfile: nosuch: No such file or directory",
          "taskmap.hostfile: failed to get hostlists from file and R",
          "plugin 'taskmap.hostfile': taskmap.hostfile failed", "taskmap.hostfile failed", "FATAL shell_taskmap",
        ]
      ),
      (
        ["scheme": "hostfile", "value": "/dev"],
        [
          "taskmap.hostfile: failed to map tasks with hostfile:/dev: host (null) not found in job nodelist",
          "plugin 'taskmap.hostfile': taskmap.hostfile failed", "taskmap.hostfile failed", "FATAL shell_taskmap",
        ]
      ),
      (
        "x",
        [
          "shell_getopt: unpack error: Expected object, got string", "failed to parse taskmap shell option",
          "FATAL shell_taskmap",
        ]
      ),
      (
        ["scheme": 3],
        [
          "shell_getopt: unpack error: Expected string, got integer", "failed to parse taskmap shell option",
          "FATAL shell_taskmap",
        ]
      ),
    ] as [(JSON, [String])]) func mistakes(_ option: JSON, _ words: [String]) throws
  {
    var layout = try Self.layout()
    do throws(JobFiles.Failure) {
      try TaskmapOption(option, directory: "/nowhere")?.apply(to: &layout)
      Issue.record("\(option) is no map")
    } catch {
      let log = error.log.map { line in
        "\(line.level == 0 ? "FATAL " : "")\(line.component.map { "\($0): " } ?? "")\(line.text)"
      }
      #expect(log == words && error.log.last?.text == error.note)
    }
  }

  @Test func hostsOfAFile() throws {
    let directory = try #require(mkdtemp(strdup("/tmp/fd-taskmap-XXXXXX")).map { String(cString: $0) })
    defer { for name in ["/hosts", ""] { remove(directory + name) } }
    let file = try #require(fopen("\(directory)/hosts", "w"))
    fputs("node[1,1]\n\n[\nnode0\n", file)
    fclose(file)
    let layout = try Self.map("hostfile", "hosts", directory: directory)
    #expect(layout.tasks.map(\.node) == [1, 1, 0, 1] && layout.map.json["map"] == [[1, 1, 2, 1], [0, 2, 1, 1]])
  }

  /// What the tasks themselves see.
  @Test func tasksInTurn() async throws {
    try await InstanceTests.withInstance(nodes: 2, cores: 2) { _, connection in
      var jobspec = try InstanceTests.jobspec(
        ["sh", "-c", "echo $FLUX_TASK_RANK.$FLUX_TASK_LOCAL_ID.{{node.id}}"], tasks: 4)
      jobspec.set(attribute: "shell.options", to: ["taskmap": ["scheme": "cyclic", "value": ""]])
      let id = try await InstanceTests.submit(connection, jobspec)
      let text = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(text.split(separator: "\n").sorted() == ["0.0.0", "1.0.1", "2.1.0", "3.1.1"])
      let events = try await InstanceTests.events(connection, id, path: "guest.exec.eventlog")
      let start = try #require(events.first { $0.name == "shell.start" })
      #expect(start.context?["taskmap"] == ["version": 1, "map": [[0, 2, 1, 2]]])
    }
  }

  // MARK: The processes of a job

  /// As a Flux 0.88 has answered for four tasks on two nodes, but for the names.
  @Test func compressedTable() {
    var table = ProcessTable()
    for (id, pid) in [20441, 20443, 20442, 20444].enumerated() {
      table.append(host: "vm", executable: "sleep", id: id, pid: pid, rank: id / 2)
    }
    #expect(
      table.json["hosts"]?.text == #"[["vm",[[-1,-3]]]]"#
        && table.json["executables"]?.text == #"[["sleep",[[-1,-3]]]]"#)
    #expect(table.json["ids"]?.text == "[[0,3]]" && table.json["pids"]?.text == "[20441,2,-1,2]")
    #expect(table.json["ranks"]?.text == "[[0,-1],[1,-1]]")
  }

  @Test func namesAndRepeats() {
    var table = ProcessTable()
    for rank in 0..<6 {
      table.append(
        host: ["a07", "a07", "a07", "b", "c99999999999", "12"][rank], executable: "/bin/x1", id: rank,
        pid: 10 + rank % 2,
        rank: rank / 2)
    }
    #expect(table.json["hosts"]?.text == #"[["a0",[[7,-2]]],"b","c99999999999","12"]"#)
    #expect(table.json["executables"]?.text == #"[["/bin/x",[[1,-5]]]]"#)
    #expect(table.json["pids"]?.text == "[[10,1],[-1,1,1]]" && table.json["ranks"]?.text == "[[0,-1],[1,-1,1]]")
  }

  @Test func processesOfAJob() async throws {
    try await InstanceTests.withInstance(nodes: 2, cores: 2) { _, connection in
      let jobspec = try InstanceTests.jobspec(["sh", "-c", "echo $$; exec sleep 60"], tasks: 3)
      let id = try await InstanceTests.submit(connection, jobspec)
      try await InstanceTests.wait(connection, id, for: "shell.start", path: "guest.exec.eventlog")
      let table = try await connection.rpc("0-shell-\(id.encoded(.f58plain)).proctable", [:])
      #expect(table["ids"]?.text == "[[0,2]]" && table["executables"]?.text == #"[["sh",[[-1,-2]]]]"#)
      #expect(table["pids"]?[0].map { $0.intValue ?? $0[0]?.intValue ?? 0 } ?? 0 > 1)
      #expect(table["ranks"]?.text == "[[0,-1],1]")
      _ = try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
    }
  }
}
