// SPDX-License-Identifier: LGPL-3.0-only

/// A small generator with a seed, so that a property test that fails fails again.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    return mixed ^ (mixed >> 31)
  }

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
