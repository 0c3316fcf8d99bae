// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct JobIDTests {
  /// Vectors of flux-core 0.88: decimal, hex, dotted hex, base58, words.
  static let vectors: [(UInt64, String, String, String, String)] = [
    (0, "0x0", "0000.0000.0000.0000", "1", "academy-academy-academy--academy-academy-academy"),
    (1, "0x1", "0000.0000.0000.0001", "2", "acrobat-academy-academy--academy-academy-academy"),
    (57, "0x39", "0000.0000.0000.0039", "z", "aztec-academy-academy--academy-academy-academy"),
    (58, "0x3a", "0000.0000.0000.003a", "21", "balance-academy-academy--academy-academy-academy"),
    (3364, "0xd24", "0000.0000.0000.0d24", "211", "carol-active-academy--academy-academy-academy"),
    (1_234_567, "0x12d687", "0000.0000.0012.d687", "7Kze", "mars-video-academy--academy-academy-academy"),
    (16_777_216, "0x1000000", "0000.0000.0100.0000", "2UzHM", "clean-photo-adrian--academy-academy-academy"),
    (4_294_967_295, "0xffffffff", "0000.0000.ffff.ffff", "7YXq9G", "natural-analyze-verbal--academy-academy-academy"),
    (294_758_907_904, "0x44a1000000", "0000.0044.a100.0000", "8k5qT5H", "begin-blue-scroll--berlin-academy-academy"),
    (
      2_214_844_170_240, "0x203af000000", "0000.0203.af00.0000", "21BTCJoR",
      "raja-almond-george--optimal-academy-academy"
    ),
    (
      9_223_372_036_854_775_807, "0x7fffffffffffffff", "7fff.ffff.ffff.ffff", "NQm6nKp8qFC",
      "natural-analyze-verbal--aurora-little-armada"
    ),
    (
      18_446_744_073_709_551_615, "0xffffffffffffffff", "ffff.ffff.ffff.ffff", "jpXCZedGfVQ",
      "natural-analyze-verbal--natural-analyze-verbal"
    ),
    // RFC 19
    (
      6_731_191_091_817_518, "0x17e9fb8df16c2e", "0017.e9fb.8df1.6c2e", "uZZybuNNy",
      "reform-remote-galileo--heart-package-academy"
    ),
  ]

  @Test(arguments: vectors)
  func encodesAndParses(dec: UInt64, hex: String, dothex: String, base58: String, words: String) throws {
    let id = JobID(rawValue: dec)
    let forms: [JobID.Encoding: String] = [
      .dec: String(dec), .hex: hex, .dothex: dothex, .kvs: "job." + dothex, .f58: "ƒ" + base58, .f58plain: "f" + base58,
      .words: words,
    ]
    for encoding in JobID.Encoding.allCases {
      #expect(id.encoded(encoding) == forms[encoding])
      #expect(try JobID(parsing: id.encoded(encoding)) == id)
    }
    #expect(id.description == "ƒ" + base58)
  }

  @Test(arguments: [
    ("203.af00.0.0", 145_152_027_540_848_640), ("FFFF.0.0.1", 0xFFFF_0000_0000_0001), ("fjpXCZedGfVR", 0),
    ("0xAb", 171),
    ("job.1", 1), ("job.f2", 1), ("job.0x10", 16), ("007", 7), ("+1", 1), ("0x0000000000000000000001", 1),
    ("f11112", 1),
    ("ACADEMY-acrobat-academy--academy-academy-academy", 1626),
    ("academy acrobat academy-academy academy academy", 1626),
    ("fzzzzzzzzzzzz", 10_379_314_260_256_165_887),
  ])
  func parsesOtherForms(text: String, value: UInt64) throws {
    #expect(try JobID(parsing: text).rawValue == value)
  }

  @Test(arguments: [
    "", " ", " 1", "1 ", "1\n", "F1", "f", "ƒ", "1z", "zz", "7Kze", "12d687", "aa", "fO", "fI", "fl", "f0", "f 1", "f+",
    "18446744073709551616", "99999999999999999999999999", "0x", "0X10", "0xg", "0x10000000000000000", "-1", "--",
    "1.2.3",
    "1.2.3.4.5", "12345.0.0.0", ".1", "...", "0.0.0.0 ", "0x0.1.2.3", "0.0.0.g", "job.", "jobs.1.2.3.4", "job.job.1",
    "1_0",
    "f1111111111111", "fé", "ƒƒ1", "academy-acrobat", "academy-academy-academy--academy-academy-nosuchword",
    "academy-academy-academy--academy-academy-academy-academy", "academy-academy-amen--academy-academy-academy",
    "natural-analyze-amen--academy-academy-academy", "ego-academy-academy--academy-academy-academy", "\0", "1\0",
  ])
  func rejects(text: String) {
    #expect { try JobID(parsing: text) } throws: { ($0 as? FormatError)?.code == .jobID }
  }

  @Test func emojiFormIsNamedInTheError() {
    #expect { try JobID(parsing: "😃") } throws: { ($0 as? FormatError)?.message.contains("emoji") == true }
  }

  @Test func hostileInput() {
    for unit in ["1", "f1", "a-", "1.", "0x", "academy-"] {
      #expect {
        try JobID(parsing: String(repeating: unit, count: 100_000))
      } throws: {
        ($0 as? FormatError).map { $0.message.count < 200 } == true  // the text is not repeated as a whole
      }
    }
  }

  @Test func roundTripsRandomIDs() throws {
    var random = SplitMix64(seed: 5)
    for _ in 0..<5000 {
      let id = JobID(rawValue: random.skewed())
      for encoding in JobID.Encoding.allCases {
        #expect(try JobID(parsing: id.encoded(encoding)) == id)
      }
      #expect(JobID(id.json) == id)
    }
  }

  @Test func parts() {
    #expect(JobID(milliseconds: 1, generator: 0, sequence: 0).rawValue == 16_777_216)
    #expect(JobID(milliseconds: 0, generator: 1, sequence: 2).rawValue == 1026)
    #expect(JobID(milliseconds: .max, generator: .max, sequence: .max).rawValue == .max)
    #expect(JobID(milliseconds: 1 << 40, generator: 1 << 14, sequence: 1 << 10).rawValue == 0)
  }

  @Test func json() {
    #expect(JobID(rawValue: .max).json == -1)
    #expect(JobID(JSON.int(-1))?.rawValue == .max)
    #expect(JobID(JSON.int(5))?.rawValue == 5)
    #expect(JobID(nil) == nil && JobID(JSON.string("5")) == nil && JobID(JSON.double(5)) == nil)
  }

  @Test func ordersByNumber() {
    #expect(JobID(rawValue: 1) < JobID(rawValue: .max) && JobID(rawValue: 2) > JobID(rawValue: 1))
  }
}
