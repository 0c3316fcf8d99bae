// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct ConstraintTests {
  static let valid = [
    #"{"properties":["ssd"]}"#, #"{"properties":["^slowgpu","a@gpu","+q"]}"#, #"{"properties":[]}"#,
    #"{"not":[{"properties":["foo","bar"]}]}"#, #"{"or":[{"properties":["ssd"]},{"hostlist":["host[0-1]"]}]}"#,
    #"{"and":[]}"#, #"{"or":[]}"#, #"{"not":[]}"#, #"{"hostlist":[]}"#, #"{"ranks":[]}"#, #"{"ranks":["0-3,5"]}"#,
    #"{"and":[{"hostlist":["host[0-1]"]},{"ranks":["0"]}]}"#,
  ]

  @Test(arguments: valid)
  func roundTrips(text: String) throws {
    let constraint = try Constraint(JSON(parsing: text))
    #expect(constraint.json.text == text)
  }

  @Test func joinsValues() throws {
    #expect(try Constraint(["hostlist": ["a[1-2]", "b"]]) == .hostlist(["a1", "a2", "b"]))
    #expect(try Constraint(["ranks": ["3", "0-1"]]) == .ranks([0, 1, 3]))
    #expect(try Constraint([:]) == .and([]))
  }

  static let invalid: [(JSON, String)] = [
    (1, "constraints must be a mapping"), ([], "constraints must be a mapping"),
    (["foo": []], "unknown constraint operator 'foo'"),
    (["properties": ["a|b"]], "invalid character in property 'a|b'"),
    (["and": [["x": []]]], "unknown constraint operator 'x'"), (["and": [1]], "constraints must be a mapping"),
    (["and": [:]], "argument to constraint and must be a sequence"),
    (["properties": "a"], "argument to constraint properties must be a sequence"),
    (["properties": [1]], "values of constraint properties must be strings"),
    (["and": [], "or": []], "constraint must only contain 1 element"),
  ]

  @Test(arguments: invalid)
  func rejects(json: JSON, message: String) {
    #expect { try Constraint(json) } throws: { error in
      (error as? FormatError)?.message == message && (error as? FormatError)?.code == .constraint
    }
  }

  /// Each value is short, and stands for a million hosts.
  @Test(.timeLimit(.minutes(2))) func hostsAreLimitedAllTogether() throws {
    let million: JSON = "a[0-1048575]"
    for json: JSON in [
      ["hostlist": .array(Array(repeating: million, count: 1000))],
      ["or": .array(Array(repeating: ["hostlist": [million]], count: 500))],
    ] {
      #expect { try Constraint(json) } throws: { ($0 as? FormatError)?.code == .constraint }
    }
    let query = Array(repeating: "host:a[0-1048575]", count: 500).joined(separator: " or ")
    #expect(throws: FormatError.self) { try Constraint(parsingQuery: query) }
  }

  @Test func termsAreLimitedAllTogether() throws {
    let property: JSON = ["properties": ["a"]]
    let operands = { (count: Int) in JSON.array(Array(repeating: property, count: count)) }
    let values = { (count: Int) in JSON.array(Array(repeating: "a", count: count)) }
    #expect(throws: Never.self) { try Constraint(["properties": values(Constraint.maximumTerms)]) }
    #expect(throws: FormatError.self) { try Constraint(["properties": values(Constraint.maximumTerms + 1)]) }
    #expect(throws: Never.self) { try Constraint(["and": operands(Constraint.maximumTerms / 2)]) }
    #expect(throws: FormatError.self) { try Constraint(["and": operands(Constraint.maximumTerms / 2 + 1)]) }
  }

  /// Each set has very many ranges: they are put in order once, not for each of them.
  @Test(.timeLimit(.minutes(5))) func manySetsOfRanksAreJoinedAtOnce() throws {
    let sets = (0..<1000).map { set in
      JSON.string((0..<400).map { String(2 * ($0 * 1000 + set)) }.joined(separator: ","))
    }
    guard case .ranks(let ranks) = try Constraint(["ranks": .array(sets)]) else { throw Unexpected() }
    #expect(ranks.count == 400_000 && ranks.contains(799_998) && !ranks.contains(1))
  }

  private struct Unexpected: Error {}

  @Test func rejectsBadLists() {
    #expect(throws: FormatError.self) { try Constraint(["hostlist": ["a[0"]]) }
    #expect(throws: FormatError.self) { try Constraint(["ranks": ["1-0"]]) }
    for illegal in "!&'\"`|()" {
      #expect(throws: FormatError.self) { try Constraint(["properties": [.string("a\(illegal)")]]) }
    }
    var deep: JSON = [:]
    for _ in 0..<1000 { deep = ["not": [deep]] }
    #expect(throws: FormatError.self) { try Constraint(deep) }
  }

  static let matching: [(String, Bool)] = [
    ("{}", true), (#"{"and":[]}"#, true), (#"{"or":[]}"#, true), (#"{"not":[]}"#, false), (#"{"properties":[]}"#, true),
    (#"{"hostlist":[]}"#, false), (#"{"ranks":[]}"#, false), (#"{"properties":["ssd"]}"#, true),
    (#"{"properties":["ssd","gpu"]}"#, false), (#"{"properties":["^gpu","ssd"]}"#, true),
    (#"{"properties":["^ssd"]}"#, false),
    (#"{"properties":["node1"]}"#, true), (#"{"properties":["^node1"]}"#, false),
    (#"{"hostlist":["node[0-1]"]}"#, true),
    (#"{"hostlist":["node2"]}"#, false), (#"{"ranks":["0-1"]}"#, true), (#"{"ranks":["0","2"]}"#, false),
    (#"{"not":[{"properties":["ssd"]},{"ranks":["5"]}]}"#, true),
    (#"{"not":[{"properties":["ssd"]},{"ranks":["1"]}]}"#, false),
    (#"{"or":[{"ranks":["5"]},{"properties":["ssd"]}]}"#, true), (#"{"or":[{"ranks":["5"]}]}"#, false),
    (#"{"and":[{"ranks":["1"]},{"properties":["gpu"]}]}"#, false), (#"{"and":[{},{"or":[]},{"ranks":["1"]}]}"#, true),
  ]

  /// The node has rank 1, name `node1` and property `ssd`.
  @Test(arguments: matching)
  func matches(text: String, expected: Bool) throws {
    let constraint = try Constraint(JSON(parsing: text))
    #expect(constraint.matches(rank: 1, host: "node1") { $0 == "ssd" } == expected)
  }
}

@Suite struct ConstraintQueryTests {
  /// Measured with the parser of `flux submit --requires` of flux-core 0.88.
  static let valid = [
    ("-x and host:a[1-3]", #"{"and":[{"not":[{"properties":["x"]}]},{"hostlist":["a[1-3]"]}]}"#),
    ("a", #"{"properties":["a"]}"#), ("a b", #"{"properties":["a","b"]}"#), ("^a", #"{"properties":["^a"]}"#),
    ("a,b", #"{"properties":["a","b"]}"#), ("-a b", #"{"and":[{"not":[{"properties":["a"]}]},{"properties":["b"]}]}"#),
    ("not a", #"{"not":[{"properties":["a"]}]}"#), ("not not a", #"{"not":[{"not":[{"properties":["a"]}]}]}"#),
    ("a|b|c", #"{"or":[{"properties":["a"]},{"properties":["b"]},{"properties":["c"]}]}"#),
    ("a|b&c", #"{"or":[{"properties":["a"]},{"properties":["b","c"]}]}"#),
    ("(a|b)&c", #"{"and":[{"or":[{"properties":["a"]},{"properties":["b"]}]},{"properties":["c"]}]}"#),
    (
      "host:a1 hosts:b2 rank:0-3 ranks:4",
      #"{"and":[{"hostlist":["a1"]},{"hostlist":["b2"]},{"ranks":["0-3"]},{"ranks":["4"]}]}"#
    ),
    ("a or b and c", #"{"or":[{"properties":["a"]},{"properties":["b","c"]}]}"#),
    ("a || b && c", #"{"or":[{"properties":["a"]},{"properties":["b","c"]}]}"#),
    ("not a b", #"{"and":[{"not":[{"properties":["a"]}]},{"properties":["b"]}]}"#),
    ("not a or b", #"{"or":[{"not":[{"properties":["a"]}]},{"properties":["b"]}]}"#),
    ("a b|c d", #"{"and":[{"or":[{"properties":["a","b"]},{"properties":["c"]}]},{"properties":["d"]}]}"#),
    ("'a b'", #"{"properties":["a b"]}"#), ("AND a", #"{"properties":["AND","a"]}"#),
    ("a nota", #"{"properties":["a","nota"]}"#),
    ("not-a", #"{"not":[{"not":[{"properties":["a"]}]}]}"#), ("a-b", #"{"properties":["a-b"]}"#),
    ("-a-b", #"{"not":[{"properties":["a-b"]}]}"#), ("properties:a,b", #"{"properties":["a","b"]}"#),
    ("a (b c)", #"{"properties":["a","b","c"]}"#), ("(a b) c", #"{"properties":["a","b","c"]}"#),
    ("rank:1|rank:2", #"{"or":[{"ranks":["1"]},{"ranks":["2"]}]}"#), ("notx", #"{"properties":["notx"]}"#),
    ("orx", #"{"properties":["orx"]}"#), ("a'b'", #"{"properties":["a","b"]}"#),
    ("'not a'", #"{"properties":["not a"]}"#),
    ("a \"b c\" d", #"{"properties":["a","b c","d"]}"#), ("host:'a,b'", #"{"hostlist":["a,b"]}"#),
    ("host: a", #"{"hostlist":["a"]}"#), ("not (a b)", #"{"not":[{"properties":["a","b"]}]}"#),
    ("a -b", #"{"and":[{"properties":["a"]},{"not":[{"properties":["b"]}]}]}"#),
    ("a|-b", #"{"or":[{"properties":["a"]},{"not":[{"properties":["b"]}]}]}"#),
    ("not -a", #"{"not":[{"not":[{"properties":["a"]}]}]}"#), ("a,,b", #"{"properties":["a","","b"]}"#),
    ("a\nb", #"{"properties":["a","b"]}"#), ("é", #"{"properties":["é"]}"#),
    (
      "a|b|(c|d)",
      #"{"or":[{"properties":["a"]},{"properties":["b"]},{"or":[{"properties":["c"]},{"properties":["d"]}]}]}"#
    ),
    ("(a|b)|c", #"{"or":[{"properties":["a"]},{"properties":["b"]},{"properties":["c"]}]}"#),
    ("a (b and c) d", #"{"properties":["a","b","c","d"]}"#), ("-'a b'", #"{"not":[{"properties":["a b"]}]}"#),
    (
      "a b or c d or e",
      #"{"or":[{"and":[{"or":[{"properties":["a","b"]},{"properties":["c"]}]},{"properties":["d"]}]},{"properties":["e"]}]}"#
    ),
    ("a&b|c&d", #"{"or":[{"properties":["a","b"]},{"properties":["c","d"]}]}"#),
    ("not a and b", #"{"and":[{"not":[{"properties":["a"]}]},{"properties":["b"]}]}"#),
  ]

  @Test(arguments: valid)
  func parses(query: String, json: String) throws {
    #expect(try Constraint(parsingQuery: query).json.text == json)
  }

  @Test(arguments: [
    ("", 0), ("()", 1), ("(a", 2), ("a)", 1), ("-(a|b)", 1), ("--a", 1), ("host:", 0), ("and", 0), ("a and", 5),
    ("a and and b", 6), ("'':", 2), ("''", 2), ("'a", 0), ("\"a", 0), ("or:a", 0), ("x!:y", 0), ("foo:bar", 0),
    ("a host:b[", 2),
    ("rank:x", 0), ("a!b", 0), ("a\u{A0}b", 1), ("|", 0), ("a|", 2), ("a||", 3), ("a|||b", 3), ("a (", 3), (")", 0),
    ("é )", 3), ("not", 3),
  ])
  func rejects(query: String, offset: Int) {
    #expect {
      try Constraint(parsingQuery: query)
    } throws: { error in
      let error = error as? FormatError
      return error?.code == .constraint && error?.offset == offset
    }
  }

  @Test(arguments: ["(", "not ", "a|(", "-", "a -", "a not "])
  func deepQueriesAreErrors(unit: String) {
    #expect(throws: FormatError.self) { try Constraint(parsingQuery: String(repeating: unit, count: 100_000) + "a") }
  }

  @Test func longFlatQueriesAreFine() throws {
    for separator in [" ", "|", "&(a|b)&", " -x "] {
      let query = (0..<20000).map { "p\($0)" }.joined(separator: separator)
      #expect(throws: Never.self) { try Constraint(parsingQuery: query) }
    }
  }

  @Test func randomQueriesNeverCrash() {
    var random = SplitMix64(seed: 17)
    let words = [
      "a", "b", " ", " ", "|", "&", "(", ")", "-", "not ", "and ", "or ", "host:", "rank:1", "'", "\"", ",", "^",
    ]
    var accepted = 0
    for _ in 0..<20000 {
      let query = (0..<random.int(1...8)).map { _ in random.pick(words) }.joined()
      guard let constraint = try? Constraint(parsingQuery: query) else { continue }
      accepted += 1
      #expect((try? Constraint(constraint.json)) == constraint)
    }
    #expect(accepted > 1000)
  }
}
