// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// Very many jobs that are delegated to a target where nobody is, at once.
struct Storm: Sendable {
  let origin: Origin
  /// Another connection to the origin: what is sent over it does not wait behind the storm.
  let other: Origin

  private static let plainJobs = 200
  /// How many submissions are under way at once.
  private static let width = 200

  func measure(_ count: Int) async throws {
    try await BadTargets.with { bad in
      for kind in [BadTargets.Kind.dead, .hangs] { try await measure(count, bad.uri(kind), kind) }
    }
  }

  private func measure(_ count: Int, _ uri: String, _ kind: BadTargets.Kind) async throws {
    let agent = try await origin.load()
    let before = try await other.plain(Self.plainJobs)
    let memory = (broker: try await origin.resident(), agent: Origin.resident(agent))
    let log = try await LogRate.measure(other.connection) {
      let start = ContinuousClock.now
      let (submitted, meanwhile) = try await withThrowingTaskGroup(of: Origin.Times?.self) { group in
        group.addTask {
          try await submit(count, uri)
          return nil
        }
        let progress = Progress()
        group.addTask { try await other.plain(while: { await progress.isUnderWay }) }
        _ = try await group.next()
        let submitted = ContinuousClock.now - start
        // All have ended but the plain one that is under way.
        while try await origin.active() > 1 { try await Task.sleep(for: .milliseconds(200)) }
        await progress.end()
        return (submitted, try await group.next().flatMap { $0 } ?? Origin.Times())
      }
      let ended = ContinuousClock.now - start
      DelegateBenchmark.say("\(count) jobs delegated to a target that \(kind == .dead ? "is dead" : "hangs")")
      DelegateBenchmark.say(
        "  submitted after \(Self.round(submitted)) s, all ended after \(Self.round(ended)) s")
      let after = try await other.plain(Self.plainJobs)
      for (name, times) in [("before", before), ("meanwhile", meanwhile), ("after", after)] {
        DelegateBenchmark.report("plain, submission, \(name)", times.submission)
        DelegateBenchmark.report("plain, submission to clean, \(name)", times.clean)
      }
    }
    let grown = (
      broker: try await origin.resident() - memory.broker, agent: Origin.resident(agent) - memory.agent
    )
    DelegateBenchmark.say(
      "  memory grown by: broker \(Int(grown.broker / 1000)) MB (\(Int(grown.broker / Double(count) * 10) ) kB for 10 jobs), agent "
        + "\(Int(grown.agent / 1000)) MB")
    DelegateBenchmark.say("  the agent's lines in the log: \(log.total), at most \(log.most) in a second")
    try await origin.remove()
  }

  private func submit(_ count: Int, _ uri: String) async throws {
    for first in stride(from: 0, to: count, by: Self.width) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in first..<min(first + Self.width, count) {
          group.addTask { _ = try await DelegateBenchmark.submit(origin.connection, [], delegate: uri) }
        }
        try await group.waitForAll()
      }
    }
  }

  private static func round(_ duration: Duration) -> Double {
    (DelegateBenchmark.seconds(duration) * 10).rounded() / 10
  }

  private actor Progress {
    private(set) var isUnderWay = true
    func end() { isUnderWay = false }
  }
}

/// How many lines the agent writes into the instance's log.
struct LogRate {
  var total = 0
  /// In one second, as they come.
  var most = 0

  /// Reads what is written while `body` runs.
  static func measure(_ connection: FluxConnection, _ body: @Sendable () async throws -> Void) async throws -> LogRate {
    let lines = Lines()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        let request: JSON = ["follow": true, "nobacklog": true]
        for try await line in await connection.stream("log.dmesg", request, cancelTopic: "log.cancel") {
          await lines.add(line.text ?? "")
        }
      }
      try await body()
      group.cancelAll()
    }
    return await lines.rate
  }

  private actor Lines {
    private let start = ContinuousClock.now
    private var seconds: [Int64: Int] = [:]

    /// `<N>1 TIME RANK delegate ...`
    func add(_ line: String) {
      let words = line.split(separator: " ", maxSplits: 4)
      guard words.count > 3, words[3] == "delegate" else { return }
      seconds[(ContinuousClock.now - start).components.seconds, default: 0] += 1
    }

    var rate: LogRate { LogRate(total: seconds.values.reduce(0, +), most: seconds.values.max() ?? 0) }
  }
}
