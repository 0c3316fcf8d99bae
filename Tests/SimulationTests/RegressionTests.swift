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
    // Copies of jobs that were cancelled when no plugin was there, or no connection to their target, or whose records the origin had lost, ran on.
    Mistake(
      words: "a copy of a cancelled job is found by the next agent",
      seeds: [
        3029, 866_890_464_770_405_731, 866_890_464_770_418_853, 866_890_464_770_428_547, 6_350_125_797_324_274_547,
      ]),
    // A job whose choice the origin had lost was sent to another target, and ran twice.
    Mistake(words: "a lost choice is searched for", seeds: [11, 191, 1193, 1307, 1343, 1559]),
    // Two agents that acted at once wrote two choices, and copied output twice.
    Mistake(words: "one agent at a time", seeds: [1067, 1081, 1663, 1919]),
    // What an earlier plugin had not finished was refused for ever.
    Mistake(words: "a job between its dependency and its resources", seeds: [2419, 3145]),
    // An agent of the plugin before let a job go, and did not know of its prolog.
    Mistake(words: "only the attached agent may speak for a job", seeds: [5_136_249_587_002_283_885]),
    // A second attempt was lost with its choice, and the first one sent again; the first look at a target broke off.
    Mistake(
      words: "a search over all targets",
      seeds: [5_136_249_587_002_217_179, 5_136_249_587_002_269_019, 5_136_249_587_002_223_809]),
    // The answer to the preparation of logs was taken for that to the next attempt's choice.
    Mistake(words: "a step's answer comes before the next attempt", seeds: [7, 254]),
    // A change of the urgency that had waited for the one before let a copy go that had been cancelled meanwhile.
    Mistake(words: "nothing is changed after a cancellation", seeds: [5_079_304_012_876_036_157]),
    // A copy was handed over that its target had forgotten while it was held.
    Mistake(words: "what is lost is not handed over", seeds: [7657, 8413, 11320, 11581]),
  ]

  /// The same in worlds in which jobs go elsewhere.
  static let mistakesElsewhere = [
    // A job of which it was known how it had ended went elsewhere, and had two ends.
    Mistake(
      words: "what has ended is not run again",
      seeds: [3_868_447_432_561_918_339, 3_868_447_432_561_919_604, 3_868_447_432_561_930_049]),
    // The copy of a second attempt stayed held, for its owner had held the first one; nobody can let go a job that runs.
    Mistake(words: "a job that runs is not held", seeds: [3_868_447_432_561_919_105]),
    // A copy that was cancelled before it was on record was followed and released, for the attempt before had run.
    Mistake(words: "only what is on record is followed", seeds: [3_868_447_432_561_927_867]),
    // A remote job that was over was told its urgency.
    Mistake(words: "nothing is asked of what is over", seeds: [2_007_410_660_466_510_507]),
    // After a restart of the origin a new attempt's output was copied to a namespace that was not there.
    Mistake(
      words: "the logs are opened again for a new attempt",
      seeds: [6_136_091_002_789_540_179, 6_136_091_002_789_546_380, 6_136_091_002_789_556_169]),
    // An origin that was restarted had a job's prolog and not its resources: the next attempt added a second prolog.
    Mistake(words: "the next attempt knows of the prolog", seeds: [3_569_250_518_544_574_190]),
    // While a lost target was asked once more, nobody said why the job waited.
    Mistake(words: "the reason stays until there is an answer", seeds: [3_569_250_518_544_656_389]),
  ]

  @Test(arguments: mistakesElsewhere) func doesNotComeBackElsewhere(_ mistake: Mistake) {
    for seed in mistake.seeds {
      let world = RandomWorldTests.elsewhere(seed)
      world.run()
      #expect(world.violation == nil, "FD_ELSEWHERE=1 FD_SEED=\(seed)")
    }
  }

  @Test(arguments: mistakes) func doesNotComeBack(_ mistake: Mistake) {
    for seed in mistake.seeds {
      let world = RandomWorldTests.world(seed)
      world.run()
      #expect(world.violation == nil, "FD_SEED=\(seed)")
    }
  }
}
