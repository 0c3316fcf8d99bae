// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// How fast an embedded instance is: beside a real Flux, where one is given, and beside a loop that does nothing but start processes.
struct InstanceSpeed: Sendable {
  let instance: FluxConnection
  /// A real Flux; nil: there is none.
  let flux: FluxConnection?
  /// The executable that starts instances.
  let program: String

  private static let turns = 3
  /// How many times more jobs than a real Flux an embedded instance is given, so that both take about as long.
  private static let share = 20
  private static let starts = 10

  func measure(_ count: Int) async throws {
    var rates: (instance: [Double], flux: [Double], spawn: [Double]) = ([], [], [])
    for _ in 0..<Self.turns {
      rates.spawn.append(try Self.spawn(count))
      rates.instance.append(try await Self.rate(count, instance))
      if let flux { rates.flux.append(try await Self.rate(max(count / Self.share, 20), flux)) }
    }
    DelegateBenchmark.say("`true`, \(count) at once, jobs per second in \(Self.turns) turns")
    DelegateBenchmark.say("  embedded: \(Self.words(rates.instance))")
    DelegateBenchmark.say("  a loop of posix_spawn and waitpid: \(Self.words(rates.spawn))")
    DelegateBenchmark.say("  embedded / loop: \(Self.rounded(Self.median(rates.instance) / Self.median(rates.spawn)))")
    if !rates.flux.isEmpty {
      DelegateBenchmark.say("  Flux: \(Self.words(rates.flux))")
      DelegateBenchmark.say("  embedded / Flux: \(Self.rounded(Self.median(rates.instance) / Self.median(rates.flux)))")
    }
    var times: [Double] = []
    for _ in 0..<Self.starts {
      times.append(try await LocalInstance.with(program, name: "start") { _, _, time in time })
    }
    try LocalInstance.clean()
    DelegateBenchmark.say(
      "start to the first answer: median \(Self.rounded(Self.median(times) * 1000)) ms of \(Self.starts)")
  }

  // MARK: Jobs

  /// How many jobs a second are over when so many are submitted as fast as they are taken.
  static func rate(_ count: Int, _ connection: FluxConnection) async throws -> Double {
    let start = ContinuousClock.now
    let width = 512
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<count {
        if number >= width { try await group.next() }
        group.addTask {
          let id = try await DelegateBenchmark.submit(connection, [])
          _ = try await DelegateBenchmark.events(connection, id)
        }
      }
      try await group.waitForAll()
    }
    return Double(count) / DelegateBenchmark.seconds(ContinuousClock.now - start)
  }

  /// The same without anything around.
  private static func spawn(_ count: Int) throws -> Double {
    let start = ContinuousClock.now
    var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("true"), nil]
    defer { free(arguments[0]) }
    for _ in 0..<count {
      var pid: pid_t = 0
      guard posix_spawn(&pid, "/bin/true", nil, nil, &arguments, environ) == 0 else { throw CancellationError() }
      var status: CInt = 0
      waitpid(pid, &status, 0)
    }
    return Double(count) / DelegateBenchmark.seconds(ContinuousClock.now - start)
  }

  // MARK: Words

  static func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
  static func rounded(_ value: Double) -> String {
    value >= 100 ? String(Int(value)) : String((value * 100).rounded() / 100)
  }
  private static func words(_ values: [Double]) -> String { values.map(rounded).joined(separator: ", ") }
}
