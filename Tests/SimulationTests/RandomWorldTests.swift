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

  /// Always the same ones; a third of them are those in which jobs go elsewhere. `FD_WORLDS` says how many, and takes all cores: by themselves they
  /// take one, for other tests wait for theirs.
  @Test func fixedSeeds() async {
    let start = Self.seconds()
    let wanted = Self.setting("FD_WORLDS").flatMap { UInt64($0) }
    let worlds = wanted ?? Self.fixedWorlds
    let third = worlds / 3
    let end = start + 900
    let parts: [@Sendable () async -> Part] = [
      { await Self.named("fixed seeds", Self.run(0..<third, until: end)) },
      { await Self.named("fixed seeds, the others", Self.run(third..<2 * third, until: end)) },
      {
        await Self.named(
          "fixed seeds, elsewhere", Self.run(0..<(worlds - 2 * third), until: end) { Self.elsewhere($0) })
      },
    ]
    let all = await Self.run(parts, atOnce: wanted != nil)
    Self.report("all fixed seeds", all, [], Self.seconds() - start)
    #expect(all.worlds == Int(worlds) || all.failures > 0, "not all worlds were run")
  }

  private static let fixedWorlds: UInt64 = 6_000

  private typealias Part = (name: String, counts: World.Counts, failures: [(UInt64, String)])

  /// Runs the parts, and says what came of each.
  private static func run(_ parts: [@Sendable () async -> Part], atOnce: Bool) async -> World.Counts {
    let start = seconds()
    var all = World.Counts()
    await withTaskGroup(of: Part.self) { group in
      for part in parts {
        group.addTask { await part() }
        if !atOnce, let done = await group.next() { note(done, start, &all) }
      }
      for await done in group { note(done, start, &all) }
    }
    return all
  }

  private static func note(_ part: Part, _ start: Double, _ all: inout World.Counts) {
    all.add(part.counts)
    report(part.name, part.counts, part.failures, seconds() - start)
  }

  private static func named(_ name: String, _ result: (World.Counts, [(UInt64, String)])) -> Part {
    (name, result.0, result.1)
  }

  /// New ones every time.
  @Test func newSeeds() async {
    let start = Self.seconds()
    let wanted = Self.setting("FD_SECONDS").flatMap { Double($0) }
    let first = UInt64.random(in: 0...(UInt64.max / 2))
    print("new seeds from \(first)")
    let half = start + (wanted ?? 3) / 2
    let end = start + (wanted ?? 3)
    let parts: [@Sendable () async -> Part] = [
      { await Self.named("new seeds", Self.run(first..., until: wanted == nil ? half : end)) },
      { await Self.named("new seeds, elsewhere", Self.run(first..., until: end) { Self.elsewhere($0) }) },
    ]
    let all = await Self.run(parts, atOnce: wanted != nil)
    #expect(all.worlds > 0)
  }
}
