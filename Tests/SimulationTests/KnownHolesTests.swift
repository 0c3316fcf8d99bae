// SPDX-License-Identifier: LGPL-3.0-only

import Testing

/// What is known to be wrong outside the machine. Each hole, while it is open, breaks a world that is whole when it is closed; whoever closes
/// one in the shells takes its bit away.
@Suite struct KnownHolesTests {
  struct Hole: CustomTestStringConvertible, Sendable {
    var name: String
    var bit: Holes
    var seeds: [UInt64]
    var testDescription: String { name }
  }

  static let holes = [
    Hole(name: "the origin loses delegate::select", bit: .choiceIsLost, seeds: [191, 1307, 1559]),
    Hole(name: "two agents act at once", bit: .agentsOverlap, seeds: [1067, 1081, 1919]),
    Hole(name: "a job is cancelled while the plugin is away", bit: .cancelWithoutAgent, seeds: [3029]),
  ]

  @Test(arguments: holes) func isThere(_ hole: Hole) {
    for seed in hole.seeds {
      let whole = RandomWorldTests.world(seed)
      whole.run()
      #expect(whole.violation == nil, "FD_SEED=\(seed)")
      let world = RandomWorldTests.world(seed, holes: hole.bit)
      world.run()
      withKnownIssue {
        if let violation = world.violation {
          Issue.record("FD_HOLES=\(hole.bit.rawValue) FD_SEED=\(seed): \(violation)")
        }
      }
    }
  }
}
