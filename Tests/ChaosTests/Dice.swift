// SPDX-License-Identifier: LGPL-3.0-only

import TestSupport

/// What decides everything that the harness decides: one seed, one sequence.
typealias Dice = SplitMix64

extension Dice {
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
