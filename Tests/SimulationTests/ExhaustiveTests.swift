// SPDX-License-Identifier: LGPL-3.0-only

import Testing

/// Small worlds, in which a fault strikes before every single step.
@Suite struct ExhaustiveTests {
  /// One job, and what its way is.
  struct Scenario: CustomTestStringConvertible, Sendable {
    var name: String
    var request: JobPlan.Request
    var fates: [JobPlan.Fate] = [.exit(0), .exit(0), .exit(0)]
    var runtime = 0.05
    var testDescription: String { name }

    func world(_ seed: UInt64, isTraced: Bool = false) -> World {
      let world = World(seed: seed, faults: Faults(), isTraced: isTraced)
      var plan = JobPlan(request: request)
      plan.submitAt = 0.05
      plan.fates = fates
      plan.runtime = runtime
      world.add(plan)
      return world
    }
  }

  static let scenarios = [
    Scenario(name: "hand-off", request: .handOff),
    Scenario(name: "hand-off to any target", request: .handOffToAny),
    Scenario(name: "mirror to success", request: .mirrorURI),
    Scenario(name: "mirror to a failure", request: .mirrorLabel, fates: [.exit(3), .exit(3), .exit(3)]),
    Scenario(name: "mirror to a time limit", request: .mirrorURI, fates: [.exit(0), .timeLimit, .exit(0)]),
    Scenario(name: "mirror of a lost job", request: .mirrorLabel, fates: [.lost, .exit(0), .exit(0)]),
    Scenario(name: "failing over", request: .mirrorInOrder, fates: [.exit(0), .exit(0), .noResources]),
    Scenario(name: "failing over twice", request: .mirrorAny, fates: [.noResources, .noResources, .exit(0)]),
    Scenario(name: "running until it is cancelled", request: .mirrorAny, runtime: 1_000_000),
  ]

  /// Seeds for each place of a fault.
  private static let seeds: Range<UInt64> = 1..<5

  @Test(arguments: scenarios) func everyFaultAtEveryStep(_ scenario: Scenario) async {
    var counts = World.Counts()
    let length = length(scenario)
    for fault in World.Fault.allCases {
      for step in 1...length {
        await Task.yield()
        for seed in Self.seeds {
          run(&counts, "\(scenario.name), seed \(seed), \(fault) before step \(step)") { isTraced in
            let world = scenario.world(seed, isTraced: isTraced)
            world.add(fault, beforeStep: step)
            return world
          }
        }
      }
    }
    Self.report(scenario.name, counts)
  }

  /// Two faults, each at every step: all that an agent's death, a lost connection and a cancellation can do to each other.
  @Test(arguments: [0, 2, 6]) func everyPairOfFaults(_ number: Int) async {
    let scenario = Self.scenarios[number]
    var counts = World.Counts()
    let length = length(scenario)
    let kinds: [(World.Fault, World.Fault)] = [
      (.connectionLoss, .agentCrash), (.agentCrash, .agentCrash), (.cancel, .agentCrash), (.connectionLoss, .cancel),
      (.targetCrash, .agentCrash), (.connectionLoss, .connectionLoss),
    ]
    for (first, second) in kinds {
      for step in 4...length {
        await Task.yield()
        for later in stride(from: step, to: length + 8, by: 2) {
          run(&counts, "\(scenario.name), \(first) before step \(step), \(second) before step \(later)") { isTraced in
            let world = scenario.world(UInt64(step + later), isTraced: isTraced)
            world.add(first, beforeStep: step)
            world.add(second, beforeStep: later)
            return world
          }
        }
      }
    }
    Self.report("\(scenario.name), pairs", counts)
  }

  private func length(_ scenario: Scenario) -> Int {
    let world = scenario.world(1)
    world.run()
    #expect(world.violation == nil, "\(scenario.name), without faults")
    return world.counts.steps
  }

  /// Runs a world; the first that goes wrong once more, to show how.
  private func run(_ counts: inout World.Counts, _ words: @autoclosure () -> String, _ make: (Bool) -> World) {
    let world = make(false)
    world.run()
    let isFirst = counts.failures == 0
    counts.add(world.counts)
    guard let violation = world.violation else { return }
    Issue.record("\(words()): \(violation)")
    guard isFirst else { return }
    let again = make(true)
    again.run()
    print((again.trace ?? []).joined(separator: "\n"))
  }

  private static func report(_ name: String, _ counts: World.Counts) {
    print(
      "\(name): \(counts.worlds) worlds, \(counts.executions) executions, \(counts.strays) held strays, "
        + "\(counts.held) held jobs, \(counts.excused) excused")
  }
}
