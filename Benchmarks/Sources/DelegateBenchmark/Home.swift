// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// What bad targets cost the jobs that have nothing to do with them: 64 targets are configured, one hangs, nobody listens at one, three lie; the
/// others are one live target under many names.
struct Home: Sendable {
  let origin: Origin
  /// The live target's URI.
  let target: String

  private static let turns = 6
  private static let targets = 64
  /// How many delegated jobs are sent to each of the bad ones, and how often.
  private static let pause = Duration.seconds(1)
  /// How long the agent has to connect to its targets before a turn.
  private static let beginning = Duration.seconds(3)

  /// - Parameter count: how many plain jobs of each side in a turn.
  func measure(_ count: Int) async throws {
    try await BadTargets.with { bad in
      let kinds = BadTargets.Kind.allCases
      let links = try bad.links(to: String(target.dropFirst("local://".count)), count: Self.targets - kinds.count)
      try await origin.configure(links + kinds.map(bad.uri))
      _ = try await origin.plain(20)
      var with = Origin.Times()
      var without = Origin.Times()
      var ends: [String: Int] = [:]
      for turn in 0..<Self.turns {
        for isLoaded in turn.isMultiple(of: 2) ? [false, true] : [true, false] {
          guard isLoaded else {
            without += try await origin.plain(count)
            continue
          }
          let (times, found) = try await loaded(count, bad, connected: links.count)
          with += times
          ends.merge(found, uniquingKeysWith: +)
        }
      }
      report(with, without, ends)
    }
  }

  /// One turn with the plugin: delegations to every bad target are under way all the time.
  private func loaded(
    _ count: Int, _ bad: BadTargets, connected: Int
  ) async throws -> (Origin.Times, [String: Int]) {
    let agent = try await origin.load()
    // What it does in its first moment, the connections to all targets, is not what is measured. An instance has room for few at once, so that
    // under many names some are only connected when they are tried again.
    let end = ContinuousClock.now + Self.beginning
    while Self.descriptors(agent) < connected, ContinuousClock.now < end {
      try await Task.sleep(for: .milliseconds(20))
    }
    let uris = BadTargets.Kind.allCases.map(bad.uri)
    let times = try await withThrowingTaskGroup(of: Origin.Times?.self) { group in
      group.addTask {
        do {
          while true {
            for uri in uris { _ = try await DelegateBenchmark.submit(origin.connection, [], delegate: uri) }
            try await Task.sleep(for: Self.pause)
          }
        } catch is CancellationError { return nil }
      }
      group.addTask { try await origin.plain(count) }
      let first = try await group.next() ?? nil
      group.cancelAll()
      try await group.waitForAll()
      return first ?? Origin.Times()
    }
    let states = try await origin.connection.rpc("job-list.job-stats", [:])["job_states"]
    let waiting = Int(states?["depend"]?.intValue ?? 0)
    try await origin.remove()
    return (times, ["in flight at the end of a turn": waiting])
  }

  private static func descriptors(_ pid: pid_t) -> Int {
    guard let directory = opendir("/proc/\(pid)/fd") else { return .max }
    defer { closedir(directory) }
    var count = 0
    while readdir(directory) != nil { count += 1 }
    return count
  }

  private func report(_ with: Origin.Times, _ without: Origin.Times, _ ends: [String: Int]) {
    let bad = BadTargets.Kind.allCases.count
    DelegateBenchmark.say(
      "a plain `true` beside delegations to \(bad) bad targets of \(Self.targets), \(with.clean.count) each, in \(Self.turns) turns"
    )
    for (key, value) in ends { DelegateBenchmark.say("  delegated jobs \(key), on average: \(value / Self.turns)") }
    for (name, path) in [("submission", \Origin.Times.submission), ("submission to clean", \Origin.Times.clean)] {
      DelegateBenchmark.report("\(name), without the plugin", without[keyPath: path])
      DelegateBenchmark.report("\(name), with", with[keyPath: path])
      DelegateBenchmark.ratio("\(name), with / without", with[keyPath: path], without[keyPath: path])
    }
  }
}
