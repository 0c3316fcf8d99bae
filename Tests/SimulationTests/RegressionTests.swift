// SPDX-License-Identifier: LGPL-3.0-only

import Testing

/// Seeds that have shown mistakes of the machine, each with its fix taken out. Here it is said what they stand for; the plain
/// tests are in DelegationTests.
@Suite struct RegressionTests {
  struct Mistake: CustomTestStringConvertible, Sendable {
    var words: String
    var seeds: [UInt64]
    var testDescription: String { words }
  }

  static let mistakes = [
    // A remote job of which was said again that it is held counted as one that its target's owner had held.
    Mistake(words: "a release is sent until it is answered", seeds: [969, 3523, 6963]),
    // The record undid a change of the urgency that had overtaken it.
    Mistake(words: "a change may overtake the record", seeds: [8285]),
    // What a second attempt had got was forgotten by the next agent, which asked for an allocation for ever.
    Mistake(words: "a second attempt that runs is taken over", seeds: [7, 11, 38, 254]),
    // An exception `alloc` that came while the target was lost was written at the origin, and the next target tried.
    Mistake(words: "an allocation fails while the target is lost", seeds: [7_201_188_320_635_491_757]),
  ]

  @Test(arguments: mistakes) func doesNotComeBack(_ mistake: Mistake) {
    for seed in mistake.seeds {
      let world = RandomWorldTests.world(seed)
      world.run()
      #expect(world.violation == nil, "FD_SEED=\(seed)")
    }
  }
}
