// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

@testable import EmbeddedFlux

/// Shell options: what Flux's shell does with them, and its words.
@Suite struct ShellOptionTests {
  private static func failure(_ options: JSON) -> String? {
    do {
      _ = try ShellOptions(options) { _ in 1000 }
      return nil
    } catch { return "\(error.component): \(error.text)" }
  }

  @Test(
    arguments: [
      (["rlimit": ["foo": 1]], "rlimit: invalid shell option rlimit.foo=1"),
      (["rlimit": ["nofile": "x"]], #"rlimit: invalid shell option rlimit.nofile="x""#),
      (["exit-timeout": "xx"], "task-exit: exit-timeout is not a valid Flux Standard Duration"),
      (["exit-timeout": -1], "task-exit: exit-timeout is not a valid Flux Standard Duration"),
      (["signal": ["signum": "x"]], "signal: error in shell `signal' option: Expected integer"),
      (["signal": ["timeleft": "x"]], "signal: signal.timeleft=x is invalid"),
      (["gpu-affinity": "map:0;z"], "gpubind: failed to parse gpu map 0;z"),
    ] as [(JSON, String)]) func mistakes(_ options: JSON, _ words: String)
  {
    #expect(Self.failure(options) == words)
  }

  @Test func values() throws {
    let none = try ShellOptions(nil)
    #expect(none.exitTimeout == 30 && !none.exitsOnError && none.signal == nil && none.warnings.isEmpty)
    let options = try ShellOptions(
      [
        "rlimit": ["nofile": 5000, "core": 0, "stack": -1], "exit-timeout": "2m", "exit-on-error": 1, "signal": 1,
        "foo": 1, "hwloc": 1, "cpu-affinity": "off",
      ]
    ) { $0 == CInt(RLIMIT_STACK.rawValue) ? ShellOptions.unlimited : 1000 }
    #expect(options.limits.map(\.value) == [1000, 0, .max])
    #expect(options.exitTimeout == 120 && options.exitsOnError)
    #expect(options.signal?.number == SIGUSR1 && options.signal?.timeLeft == 60)
    #expect(
      options.warnings.map { "\($0.component): \($0.text)" } == [
        "rlimit: nofile exceeds current max, raising value to hard limit",
        "hwloc: this instance does not support the option: it changes nothing",
      ])
    let signal = try ShellOptions(["signal": ["signum": 12, "timeleft": "5s"]]).signal
    #expect(signal?.number == 12 && signal?.timeLeft == 5)
    #expect(try ShellOptions(["exit-timeout": "none"]).exitTimeout == nil)
    #expect(try ShellOptions(["signal": 0]).signal == nil)
  }

  @Test func gpus() throws {
    let task = { (number: Int) in TaskLayout.Task(rank: number, localID: number, node: 0, host: "n") }
    let seen = { (option: JSON?, gpus: IDSet) throws -> [String?] in
      let options = try ShellOptions(option.map { ["gpu-affinity": $0] })
      return (0..<2).map { options.visibleGPUs(of: task($0), gpus: gpus, tasks: 2) }
    }
    #expect(try seen(nil, []) == ["-1", "-1"])
    #expect(try seen("on", [0, 1, 3]) == ["0,1,3", "0,1,3"])
    #expect(try seen("off", [0]) == [nil, nil])
    #expect(try seen("per-task", [0, 1, 2, 3]) == ["0,1", "2,3"])
    #expect(try seen("map:3;0-1", [0, 1, 2, 3]) == ["3", "0,1"])
    #expect(try seen("map:2", [0, 1, 2, 3]) == ["2", "2"])
  }

  // MARK: Jobs

  private static func run(
    _ connection: FluxConnection, _ script: String, tasks: Int = 1, _ options: JSONObject, duration: Double = 0
  ) async throws -> (id: JobID, events: [EventlogEntry], output: String, log: [String]) {
    var jobspec = try InstanceTests.jobspec(["sh", "-c", script], tasks: tasks, duration: duration)
    jobspec.set(attribute: "shell.options", to: .object(options))
    let id = try await InstanceTests.submit(connection, jobspec)
    let events = try await InstanceTests.events(connection, id)
    let entries = try await InstanceTests.events(connection, id, path: "guest.output")
    let log = entries.filter { $0.name == "log" }.map {
      "\($0.context?["component"]?.stringValue ?? "-"): \($0.context?["message"]?.stringValue ?? "")"
    }
    let output = entries.compactMap { $0.context?["data"]?.stringValue }.joined()
    return (id, events, output, log)
  }

  @Test func limitsOfTasks() async throws {
    try await InstanceTests.withInstance { _, connection in
      let ran = try await Self.run(connection, "ulimit -n; ulimit -c", ["rlimit": ["nofile": 99, "core": 0]])
      #expect(ran.output == "99\n0\n" && ran.log.isEmpty)
      let bad = try await Self.run(connection, "true", ["rlimit": ["foo": 1]])
      #expect(
        bad.log == [
          "rlimit: invalid shell option rlimit.foo=1", "-: plugin 'rlimit': shell.init failed",
          "-: shell_init: No such file or directory",
        ])
      #expect(bad.events.first { $0.name == "finish" }?.context?["status"] == 256)
    }
  }

  /// The first task that ends gives the others some time, or none when it fails.
  @Test func theEndOfATask() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let late = try await Self.run(
        connection, "[ $FLUX_TASK_RANK = 1 ] || exec sleep 60", tasks: 2, ["exit-timeout": 0.2])
      let note =
        "sh: task rank 1 on host \(InstanceTests.hostOfRank0) exited (Exit 0) and exit-timeout=0.2s has expired"
      let exception = late.events.first { $0.name == "exception" }?.context
      #expect(exception?["note"]?.stringValue == note && exception?["type"] == "exec" && exception?["wait_status"] == 0)
      #expect(late.log == ["task-exit: \(note)"])
      let failed = try await Self.run(
        connection, "[ $FLUX_TASK_RANK = 0 ] || exit 3; exec sleep 60", tasks: 2, ["exit-on-error": 1])
      #expect(failed.log.first?.hasSuffix("failed (Exit 3) and exit-on-error is set") == true, "\(failed.log)")
      #expect(failed.events.first { $0.name == "finish" }?.context?["status"] == 768)
      let patient = try await Self.run(
        connection, "[ $FLUX_TASK_RANK = 0 ] || exec sleep 0.4", tasks: 2, ["exit-timeout": "none"])
      #expect(!patient.events.contains { $0.name == "exception" })
    }
  }

  @Test func aSignalBeforeTheEnd() async throws {
    try await InstanceTests.withInstance { _, connection in
      let script = "trap 'echo got; exit 5' USR2; while :; do sleep 0.05; done"
      let ran = try await Self.run(
        connection, script, ["signal": ["signum": 12, "timeleft": 55.5]], duration: 60)
      #expect(ran.output.contains("got"))
      #expect(ran.log == ["signal: job will expire in 55.5s, sending SIGUSR2 to job"])
      #expect(ran.events.first { $0.name == "finish" }?.context?["status"] == 1280)
      let never = try await Self.run(connection, "true", ["signal": 1])
      #expect(never.log == ["signal: job has no expiration, SIGUSR1 will not be sent"])
    }
  }

  @Test func filesComeWithTheJob() async throws {
    try await InstanceTests.withInstance { _, connection in
      let script = "cd $FLUX_JOB_TMPDIR && ./script && cat text && ls -A .. | grep -c '^evil$'; true"
      var jobspec = try InstanceTests.jobspec(["sh", "-c", script])
      jobspec.set(
        attribute: "files",
        to: [
          "script": ["mode": 0o100700, "encoding": "utf-8", "data": "#!/bin/sh\necho here\n"],
          "text": ["mode": 0o100600, "encoding": "base64", "data": "aGVsbG8K"],
          "../evil": ["mode": 0o100600, "encoding": "utf-8", "data": "x"],
        ])
      let id = try await InstanceTests.submit(connection, jobspec)
      let output = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(output.hasSuffix("here\nhello\n0\n"), "\(output)")
    }
  }

  @Test func gpusOfTasks() async throws {
    let configuration = EmbeddedInstance.Configuration(name: "n", nodes: 1, coresPerNode: 2, gpusPerNode: 2)
    try await EmbeddedInstance.withInstance(configuration, logger: InstanceTests.logger) { instance in
      let connection = try await instance.connect(logger: InstanceTests.logger)
      var request = Jobspec.Request(command: ["sh", "-c", "echo $CUDA_VISIBLE_DEVICES $CUDA_DEVICE_ORDER"])
      request.tasks = 2
      request.gpusPerTask = 1
      request.cwd = "/"
      let id = try await InstanceTests.submit(connection, try Jobspec(request))
      let text = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(text == "0,1 PCI_BUS_ID\n0,1 PCI_BUS_ID\n")
    }
  }
}
