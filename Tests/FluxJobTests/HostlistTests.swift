// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct HostlistTests {
  /// In, encoded again, number of hosts, first hosts; measured with flux-core 0.88.
  static let vectors: [(String, String, Int, [String])] = [
    ("", "", 0, []), ("foo[0-3,5]", "foo[0-3,5]", 5, ["foo0"]), ("foo[00-03]", "foo[00-03]", 4, ["foo00", "foo01"]),
    ("foo1,foo01", "foo[1,01]", 2, ["foo1", "foo01"]), ("foo9,foo10", "foo[9-10]", 2, []),
    ("foo[09-10]", "foo[09-10]", 2, ["foo09", "foo10"]),
    ("foo[08-11]", "foo[08-11]", 4, ["foo08", "foo09", "foo10", "foo11"]), ("foo[99-101]", "foo[99-101]", 3, ["foo99"]),
    ("foo[001-3]", "foo[001-003]", 3, ["foo001"]), ("foo[1-03]", "foo[1-3]", 3, ["foo1"]),
    ("foo2,foo1,foo0", "foo[2,1,0]", 3, ["foo2"]), ("foo[1-2,2]", "foo[1-2,2]", 3, []),
    ("foo1,bar1,foo2", "foo1,bar1,foo2", 3, []), ("foo[1-3]-bar", "foo1-bar,foo2-bar,foo3-bar", 3, ["foo1-bar"]),
    ("foo[1-2]bar[3-4]", "foo1bar[3-4],foo2bar[3-4]", 2, ["foo1bar[3-4]"]),
    ("node[1-2].example.com", "node1.example.com,node2.example.com", 2, []), ("foo-1,foo-2", "foo-[1-2]", 2, []),
    ("[1-3]", "[1-3]", 3, ["1", "2", "3"]), ("10-12", "10-12", 1, ["10-12"]), ("foo007", "foo007", 1, ["foo007"]),
    ("foo4294967296,foo4294967297", "foo[4294967296-4294967297]", 2, []),
    ("a,b c\td", "a,b,c,d", 4, ["a", "b", "c", "d"]),
    (",,a,,b,", "a,b", 2, ["a", "b"]), ("a\nb", "a\nb", 1, ["a\nb"]), ("foo[0-]", "foo0", 1, ["foo0"]),
    ("foo[1 - 3]", "foo[01-03]", 3, ["foo01"]), ("f[ 1]", "f01", 1, ["f01"]), ("f[1- 3]", "f[1-3]", 3, []),
    ("foo[1]", "foo1", 1, []), ("foo[1]x", "foo1x", 1, []), ("f8,f9,f10", "f[8-10]", 3, []),
    ("foo[18446744073709551614-18446744073709551615]", "foo[18446744073709551614-18446744073709551615]", 2, []),
    // RFC 29
    ("foox,fooy,fooz", "foox,fooy,fooz", 3, []), ("[1-3,5-6]", "[1-3,5-6]", 5, ["1", "2", "3", "5", "6"]),
    ("foo[0-4]-eth2", "foo0-eth2,foo1-eth2,foo2-eth2,foo3-eth2,foo4-eth2", 5, []),
    ("foo1,foo1,foo1", "foo[1,1,1]", 3, []),
    ("[00-02]", "[00-02]", 3, ["00", "01", "02"]), ("[00-2]", "[00-02]", 3, ["00", "01", "02"]),
    ("foo[1,1,2,1]", "foo[1,1-2,1]", 4, ["foo1", "foo1", "foo2", "foo1"]),
  ]

  @Test(arguments: vectors)
  func parses(text: String, encoded: String, count: Int, first: [String]) throws {
    let list = try Hostlist(parsing: text)
    #expect(list.description == encoded)
    #expect(list.count == count && list.hosts.count == count && list.isEmpty == (count == 0))
    #expect(Array(list.hosts.prefix(first.count)) == first)
  }

  @Test(arguments: [
    "foo[[0-1]]", "foo[3-1]", "x[10-9]", "foo]", "foo[", "foo[0-1048576]", "foo[]", "foo[1,]", "foo[1,,2]", "foo[a]",
    "foo[1--2]", "foo[-1]", "f[1 ]", "foo]1[", "a[3", "foo[18446744073709551616]", "foo[1-2x]", "[", "]", "foo[1-2-3]",
  ])
  func rejects(text: String) {
    #expect { try Hostlist(parsing: text) } throws: { ($0 as? FormatError)?.code == .hostlist }
  }

  @Test func limits() throws {
    #expect(try Hostlist(parsing: "foo[0-1048575]").count == 1 << 20)
    #expect(throws: FormatError.self) { try Hostlist(parsing: "foo[0-1048575],b") }
    #expect(throws: FormatError.self) { try Hostlist(parsing: "foo[0-18446744073709551615]") }
    let many = { (count: Int) in "f[" + Array(repeating: "1", count: count).joined(separator: ",") + "]" }
    #expect(try Hostlist(parsing: many(10240)).count == 10240)
    #expect(throws: FormatError.self) { try Hostlist(parsing: many(10241)) }
    #expect(throws: FormatError.self) { try Hostlist(parsing: String(repeating: "a", count: 1024)) }
    #expect(throws: FormatError.self) { try Hostlist(parsing: String(repeating: "p", count: 900) + "[0-1048575]") }
    #expect(throws: FormatError.self) { try Hostlist(parsing: "f[\(String(repeating: "0", count: 900))-1048575]") }
    #expect(throws: FormatError.self) { try Hostlist(parsing: String(repeating: "[", count: 1_000_000)) }
  }

  @Test(arguments: [
    ("foo3,foo1,foo2,foo1", "foo[1,1-3]", "foo[1-3]"), ("foo10,foo9,foo09", "foo[9,09-10]", "foo[9,09-10]"),
    ("b,a,a1,B", "B,a,a1,b", "B,a,a1,b"), ("", "", ""), ("x[5-7,6-8]", "x[5-6,6-7,7-8]", "x[5-8]"),
    ("a100,a010,a99,a9", "a[9,99,010,100]", "a[9,99,010,100]"), ("foo,foo,bar", "bar,foo,foo", "bar,foo"),
  ])
  func sorts(text: String, sorted: String, uniqued: String) throws {
    let list = try Hostlist(parsing: text)
    #expect(list.sorted().description == sorted)
    #expect(list.uniqued().description == uniqued)
  }

  @Test func literalNames() {
    var list: Hostlist = ["a1", "", "a2"]
    #expect(list.count == 2 && list[1] == "a2" && list.description == "a[1-2]" && Array(list) == ["a1", "a2"])
    list.append("x[1-2]")
    list.append("")
    list.append(contentsOf: ["b"])
    #expect(list.hosts == ["a1", "a2", "x[1-2]", "b"])
    let long = Hostlist(["n99999999999999999999", "n18446744073709551615"])
    #expect(long.description == "n99999999999999999999,n18446744073709551615")
  }

  @Test func roundTripsRandomLists() throws {
    var random = SplitMix64(seed: 10)
    for _ in 0..<3000 {
      var list = Hostlist()
      for _ in 0..<random.int(0...20) {
        let digits = String(random.int(0...random.pick([9, 20, 1200])))
        let zeros = String(repeating: "0", count: random.pick([0, 0, 0, 1, 2]))
        list.append(
          random.pick(["n", "n", "node-", "", "a.b"]) + zeros + digits + random.pick(["", "", "", "", "x", "-1"]))
      }
      let encoded = list.description
      let parsed = try Hostlist(parsing: encoded)
      #expect(parsed == list)
      #expect(parsed.description == encoded)
      #expect(list.sorted().hosts.sorted() == list.hosts.sorted())
      #expect(Set(list.uniqued().hosts) == Set(list.hosts) && list.uniqued().count == Set(list.hosts).count)
      #expect(list.sorted().sorted() == list.sorted())
    }
  }

  @Test func randomTextNeverCrashes() {
    var random = SplitMix64(seed: 11)
    let alphabet = Array("0123456789,,--[][] ax".utf8)
    var accepted = 0
    for _ in 0..<20000 {
      let text = String(decoding: (0..<random.int(0...12)).map { _ in random.pick(alphabet) }, as: UTF8.self)
      guard let list = try? Hostlist(parsing: text) else { continue }
      accepted += 1
      #expect(!list.hosts.contains(""))
    }
    #expect(accepted > 1000)
  }

  /// Found by fuzzing: more ranges than a pair of brackets may have.
  @Test func manyRangesAreReadAgain() throws {
    let list = try Hostlist(parsing: "fo[00-038920]8")
    #expect(list.count == 38921)
    #expect(try Hostlist(parsing: list.description) == list)
  }
}
