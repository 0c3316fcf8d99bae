// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

/// Texts that are too long.
@Suite struct StringCutTests {
  @Test func whatFitsStays() {
    #expect("".cut(to: 0) == "")
    #expect("abcd".cut(to: 4) == "abcd")
    #expect("Köln".cut(to: 5) == "Köln")
  }

  @Test func whatDoesNotFitEndsInAnEllipsis() {
    #expect("abcde".cut(to: 4) == "a…")
    // Not in the middle of a character.
    #expect("äöüß".cut(to: 6) == "ä…")
    #expect("äöüß".cut(to: 7) == "äö…")
    #expect("abc".cut(to: 2) == "…")
    let long = String(repeating: "é", count: 10_000).cut(to: 4096)
    #expect(long.utf8.count <= 4096 && long.utf8.count > 4092 && long.hasSuffix("é…"))
    // One letter with marks without end is no way around it.
    #expect(("a" + String(repeating: "\u{301}", count: 10_000)).cut(to: 100).utf8.count <= 100)
  }
}
