// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// What jobs that are over cost an embedded instance that keeps its state on disk: beside one that has had few of them.
struct InstanceSize: Sendable {
  /// The executable that starts instances.
  let program: String

  /// The jobs of the instance that has few.
  private static let few = 1000
  private static let turns = 200
  private static let commands = 20
  /// How long nobody asks anything of them, in seconds.
  private static let idle = 10

  func measure(_ many: Int) async throws {
    try await LocalInstance.with(program, name: "few", options: state("few")) { small, near, _ in
      try await LocalInstance.with(program, name: "many", options: state("many")) { big, far, _ in
        try await filled(small, near, Self.few)
        try await filled(big, far, many)
        try await listings(near, far)
        try commands(small, big)
        try await idle(small, big)
      }
    }
    try await LocalInstance.with(program, name: "many", options: state("many")) { instance, connection, time in
      DelegateBenchmark.say(
        "started again: the first answer after \(InstanceSpeed.rounded(time * 1000)) ms, \(Int(instance.memory)) kB, "
          + "\(try await Self.inactive(connection)) jobs")
    }
  }

  private func state(_ name: String) -> [String] { ["--statedir", "\(LocalInstance.directory)/\(name)/state"] }

  // MARK: Memory

  /// Runs so many jobs. What the first thousand take (buffers, pages of the database) is not counted to the jobs' own.
  private func filled(_ instance: LocalInstance, _ connection: FluxConnection, _ count: Int) async throws {
    _ = try await InstanceSpeed.rate(Self.few, connection)
    guard count > Self.few else { return }
    let before = instance.memory
    let rate = try await InstanceSpeed.rate(count - Self.few, connection)
    let each = (instance.memory - before) / Double(count - Self.few)
    DelegateBenchmark.say(
      "\(count) jobs with --statedir: \(Int(rate)) a second, \(InstanceSpeed.rounded(each)) KiB of memory for each that is over "
        + "(\(Int(instance.memory)) kB in all)")
  }

  private static func inactive(_ connection: FluxConnection) async throws -> Int {
    let stats = try await connection.rpc("job-list.job-stats", [:])
    return Int(stats["job_states"]?["inactive"]?.intValue ?? 0)
  }

  // MARK: Time

  /// What `flux jobs -a -c 100` asks, in turns.
  private func listings(_ near: FluxConnection, _ far: FluxConnection) async throws {
    var times: (near: [Double], far: [Double]) = ([], [])
    for _ in 0..<Self.turns {
      times.near.append(try await Self.listing(near))
      times.far.append(try await Self.listing(far))
    }
    let counts = (try await Self.inactive(near), try await Self.inactive(far))
    DelegateBenchmark.say("the newest 100 jobs, all attributes, \(Self.turns) times in turns")
    DelegateBenchmark.report("of \(counts.0)", times.near)
    DelegateBenchmark.report("of \(counts.1)", times.far)
    DelegateBenchmark.ratio("many / few", times.far, times.near)
  }

  private static func listing(_ connection: FluxConnection) async throws -> Double {
    let request: JSON = [
      "max_entries": 100, "attrs": ["all"], "since": 0.0,
      "constraint": ["and": [["states": [.int(126)]], ["userid": [.int(Int64(getuid()))]]]],
    ]
    let start = ContinuousClock.now
    var count = 0
    for try await _ in await connection.stream("job-list.list", request) { count += 1 }
    guard count == 100 else { throw CancellationError() }
    return DelegateBenchmark.seconds(ContinuousClock.now - start)
  }

  /// The command itself, from its start to its end.
  private func commands(_ small: LocalInstance, _ big: LocalInstance) throws {
    var times: (near: [Double], far: [Double]) = ([], [])
    for _ in 0..<Self.commands {
      times.near.append(try command(small))
      times.far.append(try command(big))
    }
    DelegateBenchmark.say("`flux-delegate jobs -a -c 100`, \(Self.commands) times in turns")
    DelegateBenchmark.ratio("many / few", times.far, times.near)
  }

  private func command(_ instance: LocalInstance) throws -> Double {
    let start = ContinuousClock.now
    // It warns that there are more.
    let words = ["--uri", instance.uri.description, "jobs", "-a", "-c", "100"]
    guard try LocalInstance.run(program, words) == 0 else { throw CancellationError() }
    return DelegateBenchmark.seconds(ContinuousClock.now - start)
  }

  /// The processor time of instances that nobody asks anything.
  private func idle(_ small: LocalInstance, _ big: LocalInstance) async throws {
    try await Task.sleep(for: .seconds(1))
    let before = (small.processorTime, big.processorTime)
    try await Task.sleep(for: .seconds(Self.idle))
    let words = [small.processorTime - before.0, big.processorTime - before.1].map {
      "\(InstanceSpeed.rounded($0 * 1000)) ms"
    }
    DelegateBenchmark.say("idle for \(Self.idle) s: processor time \(words.joined(separator: " and "))")
  }
}
