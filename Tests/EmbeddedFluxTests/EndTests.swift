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
    var client = try await InstanceTests.withInstance(nodes: 1, cores: 1) { instance, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      var client = try RawClient(instance.uri.path)
      try client.watch(id, "eventlog", tag: 1)
      try client.send("state-machine.monitor", ["final": 8], tag: 2)
      try client.read { try $0.json()?["state"] == 5 }
      return client
    }
    defer { close(client.descriptor) }
    var seen: [String] = []
    while let message = try client.next() {
      if message.matchTag == 1, message.text?.contains("exception") == true { seen.append("exception") }
      if message.matchTag == 2 { seen.append(try message.json()?["state"]?.text ?? "over") }
    }
    #expect(seen == ["6", "exception", "7", "8", "over"])
  }

  /// Whoever follows the jobs hears of their end, and can read what they have written then. Here it has the time that it needs; the instance
  /// ends when it goes.
  @Test func theLastOutputIsRead() async throws {
    var configuration = EmbeddedInstance.Configuration(name: "n", nodes: 1, coresPerNode: 1)
    configuration.calm = (.seconds(600), .seconds(600))
    let reading = try await EmbeddedInstance.withInstance(configuration, logger: InstanceTests.logger) { instance in
      let connection = try await instance.connect(logger: InstanceTests.logger)
      let journal = await connection.stream("job-manager.events-journal", [:])
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sh", "-c", "echo out; sleep 1000"]))
      try await InstanceTests.wait(connection, id, for: "data", path: "guest.output")
      return Task {
        for try await message in journal where message.text?.contains("\"clean\"") == true { break }
        try await Task.sleep(for: .milliseconds(50))
        let output = try await InstanceTests.output(connection, id)
        await connection.close()
        return output
      }
    }
    let output = try await reading.value
    #expect(output == Array("out\n".utf8))
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
