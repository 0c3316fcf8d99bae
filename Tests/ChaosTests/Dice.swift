// SPDX-License-Identifier: LGPL-3.0-only

/// What decides everything that the harness decides: one seed, one sequence (SplitMix64).
struct Dice: Sendable {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

  /// A number from `low` up to `high`.
  mutating func between(_ low: Double, _ high: Double) -> Double {
    low + (high - low) * Double(next() >> 11) / 9_007_199_254_740_992
  }

  mutating func below(_ count: Int) -> Int { Int(next() % UInt64(max(1, count))) }

  mutating func chance(_ probability: Double) -> Bool { between(0, 1) < probability }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }

  /// An element as often as its weight says.
  mutating func pick<Element>(weighted elements: [(Element, weight: Double)]) -> Element {
    var left = between(0, elements.reduce(0) { $0 + $1.weight })
    for (element, weight) in elements {
      left -= weight
      if left < 0 { return element }
    }
    return elements[elements.count - 1].0
  }
}
