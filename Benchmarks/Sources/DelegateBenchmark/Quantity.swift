// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// Many jobs at once: how fast they go through, how far the mirror lags behind, and what they cost the origin.
struct Quantity: Sendable {
  let target: FluxConnection
  let origin: FluxConnection
  /// The target's URI.
  let uri: String

  private static let rounds = 5

  /// Without the least and the greatest, which some cache is the reason of.
  private static func middle(_ values: ArraySlice<Double>) -> Double {
    let kept = values.sorted().dropFirst().dropLast()
    return kept.reduce(0, +) / Double(max(kept.count, 1))
  }

  /// So many `true` directly and so many mirrored, in turns, five times. Of the memory the first time does not count, in which the broker's
  /// caches grow; plain and mirrored jobs take turns in coming first.
  func many(_ count: Int) async throws {
    var rates: (direct: [Double], mirrored: [Double]) = ([], [])
    var memory: (plain: [Double], mirrored: [Double]) = ([], [])
    var mirrored: [JobID] = []
    for round in 0..<Self.rounds {
      rates.direct.append(try await rate(count, target, nil).rate)
      for isMirrored in round.isMultiple(of: 2) ? [false, true] : [true, false] {
        let before = try await resident(origin)
        let run = try await rate(count, origin, isMirrored ? uri : nil)
        let grown = (try await resident(origin) - before) / Double(count)
        guard isMirrored else {
          memory.plain.append(grown)
          continue
        }
        memory.mirrored.append(grown)
        rates.mirrored.append(run.rate)
        mirrored = run.ids
      }
    }
    let direct = rates.direct.reduce(0, +) / Double(Self.rounds)
    let through = rates.mirrored.reduce(0, +) / Double(Self.rounds)
    let plainMemory = Self.middle(memory.plain.dropFirst())
    let mirroredMemory = Self.middle(memory.mirrored.dropFirst())
    DelegateBenchmark.say(
      "\(count) `true` at once, \(Self.rounds) times each, in turns: directly \(Int(direct)) jobs/s, mirrored \(Int(through)) jobs/s"
    )
    DelegateBenchmark.say("  mirrored / direct: \((through / direct * 1000).rounded() / 1000)")
    DelegateBenchmark.say(
      "  the origin broker's memory for a job, after the first turn: plain \(Int(plainMemory)) kB, mirrored "
        + "\(Int(mirroredMemory)) kB; ratio \((mirroredMemory / plainMemory * 100).rounded() / 100)")
    try await lag(mirrored, beside: 0)
  }

  /// Held jobs: all of them at the target, waiting.
  func pending(_ count: Int) async throws {
    let before = try await resident(origin)
    let start = ContinuousClock.now
    for first in stride(from: 0, to: count, by: 200) {
      try await withThrowingTaskGroup(of: Void.self) { group in
        for _ in first..<min(first + 200, count) {
          group.addTask { _ = try await DelegateBenchmark.submit(origin, [], delegate: uri, urgency: 0) }
        }
        try await group.waitForAll()
      }
    }
    while try await held() < count { try await Task.sleep(for: .milliseconds(500)) }
    let time = DelegateBenchmark.seconds(ContinuousClock.now - start)
    DelegateBenchmark.say("\(count) delegated jobs pending at once: all at the target after \(Int(time)) s")
    DelegateBenchmark.say(
      "  the origin broker's memory for a job: \(Int((try await resident(origin) - before) / Double(count))) kB")
    let plain = ContinuousClock.now
    _ = try await DelegateBenchmark.events(origin, try await DelegateBenchmark.submit(origin, []))
    let took = DelegateBenchmark.seconds(ContinuousClock.now - plain)
    DelegateBenchmark.say("  a plain `true` at the origin meanwhile: \(Int(took * 1000)) ms")
    var others: [JobID] = []
    for _ in 0..<200 {
      let id = try await DelegateBenchmark.submit(origin, [], delegate: uri)
      _ = try await DelegateBenchmark.events(origin, id)
      others.append(id)
    }
    try await lag(others, beside: count)
    let cancel: JSON = [
      "type": "cancel", "severity": 0, "states": 62, "userid": .int(Int64(UInt32.max)), "dry_run": false, "note": "",
    ]
    try await origin.rpc("job-manager.raiseall", cancel)
    while try await held() > 0 { try await Task.sleep(for: .milliseconds(500)) }
    DelegateBenchmark.say(
      "  cancelled here, all gone there after \(Int(DelegateBenchmark.seconds(ContinuousClock.now - plain))) s")
  }

  private func held() async throws -> Int {
    let states = try await target.rpc("job-list.job-stats", [:])["job_states"]
    return ["depend", "priority", "sched"].reduce(0) { $0 + Int(states?[$1]?.intValue ?? 0) }
  }

  private func rate(_ count: Int, _ instance: FluxConnection, _ uri: String?) async throws -> (
    rate: Double, ids: [JobID]
  ) {
    let start = ContinuousClock.now
    let ids = try await withThrowingTaskGroup(of: JobID.self) { group in
      for _ in 0..<count {
        group.addTask {
          let id = try await DelegateBenchmark.submit(instance, [], delegate: uri)
          _ = try await DelegateBenchmark.events(instance, id)
          return id
        }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    return (Double(count) / DelegateBenchmark.seconds(ContinuousClock.now - start), ids)
  }

  /// From an event of the remote job to the same of the origin job, on one clock.
  ///
  /// - Parameter others: how many more jobs were in flight.
  private func lag(_ ids: [JobID], beside others: Int) async throws {
    var starts: [Double] = []
    var ends: [Double] = []
    for id in ids {
      let here = try await DelegateBenchmark.events(origin, id)
      guard let remote = JobID(here.first { $0.name == "delegate::submit" }?.context?["jobid"]) else { continue }
      let there = try await DelegateBenchmark.events(target, remote)
      func time(_ log: [EventlogEntry], _ name: String) -> Double? { log.first { $0.name == name }?.timestamp }
      if let a = time(there, "start"), let b = time(here, "delegate::start") { starts.append(b - a) }
      if let a = time(there, "finish"), let b = time(here, "finish") { ends.append(b - a) }
    }
    DelegateBenchmark.say(
      "  the mirror's lag, remote event to origin event: "
        + (others > 0 ? "\(ids.count) jobs one by one beside \(others) in flight" : "\(ids.count) jobs at once"))
    DelegateBenchmark.report("  start", starts)
    DelegateBenchmark.report("  finish", ends)
  }

  private func resident(_ instance: FluxConnection) async throws -> Double {
    try await Origin(connection: instance, plugin: "").resident()
  }
}
