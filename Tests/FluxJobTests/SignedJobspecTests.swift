// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct SignedJobspecTests {
  /// The header of user 0, captured.
  static let header = "dmVyc2lvbgBpMQB1c2VyaWQAaTAAbWVjaGFuaXNtAHNub25lAA=="

  static func header(_ text: String) -> String { Base64.encode(text.utf8) }

  @Test func captured() throws {
    let signed = SignedJobspec(userID: 0, jobspec: "{}")
    #expect(signed.text == "\(Self.header).e30=.none")
    #expect(try SignedJobspec(parsing: signed.text) == signed)
    #expect(try SignedJobspec(parsing: "\(Self.header.dropLast(2)).e30.none") == signed)
  }

  @Test func headerInAnyOrder() throws {
    let header = Self.header("mechanism\0snone\0userid\0i4294967295\0version\0i1\0")
    #expect(try SignedJobspec(parsing: "\(header).e30.none") == SignedJobspec(userID: .max, jobspec: "{}"))
    let unterminated = Self.header("mechanism\0snone\0userid\0i7\0version\0i1")
    #expect(try SignedJobspec(parsing: "\(unterminated)..none") == SignedJobspec(userID: 7, jobspec: ""))
  }

  @Test(arguments: [
    "", ".", "..", "\(header).e30=", "\(header).e30=.", "\(header).e30=.None", "\(header).e30=.none.",
    "\(header).e30=.none ",
    "\(header).e30=.munge", "\(header).e3!=.none", "\(header).e30==.none", "!.e30=.none", ".e30=.none",
    "\(header).gA==.none",
    header("version\0i2\0userid\0i0\0mechanism\0snone\0") + ".e30=.none",
    header("version\0s1\0userid\0i0\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i0\0mechanism\0smunge\0") + ".e30=.none",
    header("version\0i1\0userid\0s0\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i-1\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i+1\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i 1\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i1x\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i4294967296\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i0\0") + ".e30=.none", header("version\0i1\0mechanism\0snone\0") + ".e30=.none",
    header("userid\0i0\0mechanism\0snone\0") + ".e30=.none",
    header("version\0i1\0userid\0i0\0mechanism\0") + ".e30=.none",
    header("version\0i1\0userid\0i0\0mechanism\0snone\0extra\0i1\0") + ".e30=.none",
  ])
  func rejects(text: String) {
    #expect { try SignedJobspec(parsing: text) } throws: { ($0 as? FormatError)?.code == .signedJobspec }
  }

  @Test func roundTripsRandomOnes() throws {
    var random = SplitMix64(seed: 15)
    for _ in 0..<1000 {
      let signed = SignedJobspec(userID: UInt32(truncatingIfNeeded: random.skewed()), jobspec: random.text(0...60))
      #expect(try SignedJobspec(parsing: signed.text) == signed)
      #expect(!signed.text.utf8.contains(0))
    }
  }
}

@Suite struct Base64Tests {
  /// RFC 4648 section 10, and the two characters that differ between alphabets.
  static let vectors = [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
    ("foobar", "Zm9vYmFy"), ("~~~", "fn5+"), ("???", "Pz8/"),
  ]

  @Test(arguments: vectors)
  func vector(plain: String, encoded: String) throws {
    #expect(Base64.encode(plain.utf8) == encoded)
    #expect(try Base64.decode(encoded) == Array(plain.utf8))
    #expect(try Base64.decode(String(encoded.prefix { $0 != "=" })) == Array(plain.utf8))
  }

  @Test(arguments: [
    "Z", "Zm9vY", "Zg=", "=", "==", "===", "Zm9v=", "Zg===", "Z=g=", "Zm9v Yg==", "Zg==\n", "Zm-_", "é",
  ])
  func rejects(text: String) {
    #expect { try Base64.decode(text) } throws: { ($0 as? FormatError)?.code == .base64 }
  }

  @Test func roundTripsRandomBytes() throws {
    var random = SplitMix64(seed: 16)
    for _ in 0..<2000 {
      let bytes = (0..<random.int(0...40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(try Base64.decode(Base64.encode(bytes)) == bytes)
    }
  }
}
