// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

@testable import EmbeddedFlux

/// The end of an instance, as those see it that follow its state.
@Suite struct EndTests {
  /// CLEANUP is told while the jobs are still there; then they end, and then the other states follow.
  @Test func theEndIsToldBeforeJobsEnd() async throws {
    let (events, sink) = AsyncStream<String>.makeStream()
    let watching = try await InstanceTests.withInstance(nodes: 1, cores: 1) { instance, _ in
      let connection = try await instance.connect(logger: InstanceTests.logger)
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let states = await connection.stream("state-machine.monitor", ["final": 8])
      let log = await connection.stream("job-info.eventlog-watch", ["id": id.json, "path": "eventlog", "flags": 0])
      let (ready, start) = AsyncStream<Never>.makeStream()
      let task = Task {
        try? await withThrowingTaskGroup { group in
          group.addTask {
            for try await message in states {
              let state = try message.json()?["state"]?.intValue ?? 0
              sink.yield("\(state)")
              if state == 5 { start.finish() }
            }
            sink.yield("over")
          }
          group.addTask {
            for try await message in log where message.text?.contains("exception") == true { sink.yield("exception") }
          }
          try await group.waitForAll()
        }
        sink.finish()
      }
      for await _ in ready {}
      return task
    }
    await watching.value
    var seen: [String] = []
    for await event in events { seen.append(event) }
    #expect(seen == ["5", "6", "exception", "7", "8", "over"])
  }

  @Test func oneStateIsOneAnswer() async throws {
    try await InstanceTests.withInstance { _, connection in
      let answer = try await connection.rpc("state-machine.monitor", [:])
      #expect(answer == ["state": 5])
    }
  }

  /// Whoever asks for the end sees the log until it is there.
  @Test func shutdown() async throws {
    let configuration = EmbeddedInstance.Configuration(name: "n", nodes: 1, coresPerNode: 1)
    let task = try await EmbeddedInstance.withInstance(configuration, logger: InstanceTests.logger) { instance in
      let connection = try await instance.connect(logger: InstanceTests.logger)
      await #expect {
        try await connection.rpc("shutdown.start", ["loglevel": 6])
      } throws: {
        "\($0)" == "this instance is part of a program, and ends with it: end that"
      }
      return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await instance.waitForShutdown() }
        let task = Task {
          // The one that waits may not be there yet.
          while true {
            do {
              var lines: [String] = []
              for try await message in await connection.stream("shutdown.start", ["loglevel": 6]) {
                lines.append(try message.json()?["log"]?.stringValue ?? "")
              }
              return lines
            } catch let error as RPCError where error.description.contains("part of a program") {
              await Task.yield()
            }
          }
        }
        try await group.next()
        return task
      }
    }
    let lines = try await task.value
    #expect(lines.first == "broker.info[0]: shutdown: asked for by user \(getuid())\n", "\(lines)")
  }
}
