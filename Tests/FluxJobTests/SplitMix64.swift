// SPDX-License-Identifier: LGPL-3.0-only

import TestSupport

typealias SplitMix64 = TestSupport.SplitMix64

/// What property tests draw.
extension SplitMix64 {
  mutating func int(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &self) }

  mutating func bool() -> Bool { next() & 1 == 0 }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[int(0...(elements.count - 1))] }

  /// A 64-bit number with a random number of significant bits.
  mutating func skewed() -> UInt64 { next() >> UInt64(int(0...63)) }

  /// Text with escapes, several planes of Unicode and control characters.
  mutating func text(_ length: ClosedRange<Int> = 0...12) -> String {
    let alphabet: [Unicode.Scalar] = [
      "a", "b", "Z", "0", " ", "\"", "\\", "/", "\n", "\t", "\u{0}", "\u{1F}", "\u{7F}", "é", "\u{192}", "😃", "中",
      "\u{FFFF}", "\u{10FFFF}", "\u{301}", "{", "}", "[", ",", ":",
    ]
    var scalars = String.UnicodeScalarView()
    for _ in 0..<int(length) { scalars.append(pick(alphabet)) }
    return String(scalars)
  }
}
