// SPDX-License-Identifier: LGPL-3.0-only

import TestSupport

typealias SplitMix64 = TestSupport.SplitMix64

/// It decides everything in a simulated world: one seed, one course of events.
extension SplitMix64 {
  mutating func chance(_ probability: Double) -> Bool { probability > 0 && unit() < probability }

  mutating func below(_ count: Int) -> Int { count < 2 ? 0 : Int(next() % UInt64(count)) }
}
