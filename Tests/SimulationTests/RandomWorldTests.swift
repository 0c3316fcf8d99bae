// SPDX-License-Identifier: LGPL-3.0-only

import Testing

#if canImport(Glibc)
  import Glibc
#endif

/// Worlds by the thousand. `FD_SEED=N swift test --filter RandomWorldTests` runs one and prints what happens in it, step by step
/// (`FD_ELSEWHERE=1` as well, for one in which jobs go elsewhere);
/// `FD_SECONDS=S` runs new ones for so long.
@Suite(.serialized) struct RandomWorldTests {
  /// The faults of a world go by its seed, so that the seed alone names it.
  static func world(_ seed: UInt64, isTraced: Bool = false) -> World {
    let kind = Faults.all[Int(seed % UInt64(Faults.all.count))]
    return World.any(seed: seed, faults: kind.faults, isTraced: isTraced)
  }

  /// The same for worlds in which jobs go elsewhere.
  static func elsewhere(_ seed: UInt64, isTraced: Bool = false) -> World {
    World.any(seed: seed, faults: .elsewhere, isTraced: isTraced)
  }

  private static func setting(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  private static func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  @Test func oneSeed() throws {
    guard let seed = Self.setting("FD_SEED").flatMap({ UInt64($0) }) else { return }
    let world =
      Self.setting("FD_ELSEWHERE") == nil ? Self.world(seed, isTraced: true) : Self.elsewhere(seed, isTraced: true)
    world.run()
    print((world.trace ?? []).joined(separator: "\n"))
    #expect(world.violation == nil)
  }

  private static func run(
    _ seeds: some Sequence<UInt64>, until end: Double, _ make: @Sendable (UInt64) -> World = { world($0) }
  ) async -> (World.Counts, [(UInt64, String)]) {
    var counts = World.Counts()
    var failures: [(UInt64, String)] = []
    for seed in seeds {
      let world = make(seed)
      world.run()
      counts.add(world.counts)
      if let violation = world.violation { failures.append((seed, violation)) }
      // Other tests wait for their turn.
      if counts.worlds.isMultiple(of: 20) { await Task.yield() }
      if failures.count >= 20 || seconds() > end { break }
    }
    return (counts, failures)
  }

  private static func report(_ name: String, _ counts: World.Counts, _ failures: [(UInt64, String)], _ time: Double) {
    let rate = Int(Double(counts.worlds) / max(time, 0.001))
    print(
      "\(name): \(counts.worlds) worlds, \(rate) a second, \(counts.steps) steps, \(counts.jobs) jobs, \(counts.executions) executions; "
        + "left over: \(counts.strays) held strays, \(counts.held) held jobs, \(counts.excused) excused"
    )
    for (seed, violation) in failures {
      Issue.record("\(name.contains("elsewhere") ? "FD_ELSEWHERE=1 " : "")FD_SEED=\(seed): \(violation)")
    }
  }

  /// Always the same ones, on two threads. `FD_WORLDS` says how many; a third of them are those in which jobs go elsewhere.
  @Test func fixedSeeds() async {
    let start = Self.seconds()
    let worlds = Self.setting("FD_WORLDS").flatMap { UInt64($0) } ?? Self.fixedWorlds
    let results = await withTaskGroup(of: (String, World.Counts, [(UInt64, String)]).self) { group in
      let half = worlds / 3
      group.addTask { await Self.named("fixed seeds", Self.run(0..<half, until: start + 900)) }
      group.addTask { await Self.named("fixed seeds, the others", Self.run(half..<2 * half, until: start + 900)) }
      group.addTask {
        await Self.named(
          "fixed seeds, elsewhere", Self.run(0..<(worlds - 2 * half), until: start + 900) { Self.elsewhere($0) })
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    var all = World.Counts()
    for (name, counts, failures) in results {
      all.add(counts)
      Self.report(name, counts, failures, Self.seconds() - start)
    }
    Self.report("all fixed seeds", all, [], Self.seconds() - start)
    #expect(all.worlds == Int(worlds) || all.failures > 0, "not all worlds were run")
  }

  private static let fixedWorlds: UInt64 = 10_000

  private static func named(
    _ name: String, _ result: (World.Counts, [(UInt64, String)])
  ) -> (String, World.Counts, [(UInt64, String)]) { (name, result.0, result.1) }

  /// New ones every time.
  @Test func newSeeds() async {
    let start = Self.seconds()
    let seconds = Self.setting("FD_SECONDS").flatMap { Double($0) } ?? 3
    let first = UInt64.random(in: 0...(UInt64.max / 2))
    print("new seeds from \(first)")
    let results = await withTaskGroup(of: (String, World.Counts, [(UInt64, String)]).self) { group in
      group.addTask { await Self.named("new seeds", Self.run(first..., until: start + seconds)) }
      group.addTask {
        await Self.named("new seeds, elsewhere", Self.run(first..., until: start + seconds) { Self.elsewhere($0) })
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    for (name, counts, failures) in results { Self.report(name, counts, failures, Self.seconds() - start) }
  }
}
