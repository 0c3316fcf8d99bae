// SPDX-License-Identifier: LGPL-3.0-only

import Testing

@testable import FluxJob

/// Text with more combining marks in a row than anybody writes: whoever hashes or compares it must not take for ever.
@Suite struct CombiningMarksTests {
  /// U+0301 and U+0316 are of two classes, and in the wrong order; so Swift would move each of the second past all of the first.
  private static func bomb(_ count: Int) -> String {
    "a" + String(repeating: "\u{301}", count: count) + String(repeating: "\u{316}", count: count)
  }

  /// Each time took minutes.
  @Test(.timeLimit(.minutes(5))) func aKeyAndAValueAreHashedSoon() throws {
    let bomb = Self.bomb(200_000)
    let text = #"{"\#(bomb)":"\#(bomb)","b":["\#(bomb)\n"]}"#
    let value = try JSON(parsing: text)
    let key = try #require(value.objectValue?.keys.first)
    #expect(value.objectValue?.count == 2 && key.utf8.count == bomb.utf8.count)
    #expect(value[key] == .string(key))
    #expect(value["b"]?[0]?.stringValue != key)
    var many = JSONObject()
    for number in 0..<20 { many["\(number)"] = .int(Int64(number)) }
    many[key] = true
    #expect(many[key] == true)
  }

  /// Written as escapes, it is the same.
  @Test(.timeLimit(.minutes(5))) func escapesMakeTheSameText() throws {
    let count = 100_000
    let escaped = String(repeating: #"\u0301"#, count: count) + String(repeating: #"\u0316"#, count: count)
    let value = try JSON(parsing: "[\"a\(escaped)\"]")
    #expect(Set([value]).contains(value))
    #expect(value[0]?.stringValue?.utf8.elementsEqual(Self.bomb(count).withOrderedMarks.utf8) == true)
  }

  /// These three are no marks themselves, and stand for two of different classes: nothing is moved past more than them.
  @Test(.timeLimit(.minutes(5)), arguments: ["\u{F73}", "\u{F75}", "\u{F81}"])
  func vowelSignsThatDecomposeIntoMarks(_ sign: String) throws {
    for unit in [sign, "\u{301}\(sign)", "\(sign)\u{316}\u{301}"] {
      let text = "a" + String(repeating: unit, count: 50_000) + String(repeating: "\u{316}", count: 50_000)
      #expect(Set([text.withOrderedMarks]).count == 1)
    }
  }

  /// What is put in order is canonically equivalent, and only long runs are touched.
  @Test func theTextStaysTheSame() throws {
    for count in [1, 31, 32, 33, 40, 64, 65, 100, 1000] {
      let bomb = Self.bomb(count)
      for text in [bomb, "x" + bomb + "é", bomb + bomb, "日本語" + bomb + "ü" + bomb, "\u{301}" + bomb + "\u{F73}"] {
        let ordered = text.withOrderedMarks
        #expect(ordered == text)
        if 2 * count + 1 <= CombiningMarks.maximumRun { #expect(ordered.utf8.elementsEqual(text.utf8)) }
        if 2 * count > CombiningMarks.maximumRun { #expect(!ordered.utf8.elementsEqual(text.utf8)) }
      }
    }
  }

  /// At every offset, and with every length around the limit, a run is found.
  @Test func noRunIsMissed() {
    for offset in 0..<300 {
      for count in [33, 64, 66, 131] {
        let text = String(repeating: "x", count: offset) + Self.bomb(count) + "yz"
        let expected =
          String(repeating: "x", count: offset) + "a" + String(repeating: "\u{316}", count: count)
          + String(repeating: "\u{301}", count: count) + "yz"
        #expect(text.withOrderedMarks.utf8.elementsEqual(expected.utf8), "\(offset) \(count)")
      }
    }
  }

  @Test func ordinaryTextIsNotTouched() {
    let texts = [
      "", "abc", "日本語のテキスト", "Z\u{351}\u{36B}\u{343}algo", String(repeating: "é", count: 1000),
      String(repeating: "e\u{301}", count: 1000), "a" + String(repeating: "\u{301}", count: 1000),
      String(repeating: "👩‍👩‍👧", count: 500),
    ]
    for text in texts { #expect(text.withOrderedMarks.utf8.elementsEqual(text.utf8)) }
  }

  /// What programs write has no order but theirs.
  @Test(arguments: ["data", "event", "guest.output", "guest.input"]) func outputStaysAsItIs(_ key: String) throws {
    let bomb = Self.bomb(100)
    let value = try JSON(parsing: #"{"\#(key)":"\#(bomb)","note":"\#(bomb)"}"#)
    #expect(value[key]?.stringValue?.utf8.elementsEqual(bomb.utf8) == true)
    #expect(value["note"]?.stringValue?.utf8.elementsEqual(bomb.utf8) == false)
    #expect(
      try JSON(parsing: #"{"\#(key)":["\#(bomb)"]}"#)[key]?[0]?.stringValue?.utf8.elementsEqual(bomb.utf8) == false)
  }
}
