// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct DependencyTests {
  /// Measured with `flux submit --dry-run --dependency` of flux-core 0.88.
  static let vectors: [(String, JSON)] = [
    ("delegate:ssh://h/p?x=1", ["scheme": "delegate", "value": "ssh://h/p", "x": 1]),
    (
      "a:b?x=true&y=1.5&z=1e3&w=null&q=\"s\"&e=",
      ["scheme": "a", "value": "b", "x": "true", "y": 1.5, "z": 1000.0, "w": "null", "q": "\"s\""]
    ),
    ("A:b%20c?k%20x=v+w%41", ["scheme": "a", "value": "b%20c", "k x": "v wA"]),
    ("a:12", ["scheme": "a", "value": "12"]), ("afterok", ["scheme": "afterok", "value": ""]),
    ("a:?x=1", ["scheme": "a", "value": "", "x": 1]), ("a:b#frag?x=1", ["scheme": "a", "value": "b"]),
    ("a:b?x=1#f", ["scheme": "a", "value": "b", "x": 1]), ("a:b;p=1?x=1", ["scheme": "a", "value": "b;p=1", "x": 1]),
    ("a:b?x=1&x=2", ["scheme": "a", "value": "b", "x": [1, 2]]),
    ("a:b?x=1;y=2", ["scheme": "a", "value": "b", "x": "1;y=2"]),
    ("a:b?y=1_000&z= 5", ["scheme": "a", "value": "b", "y": 1000, "z": 5]), ("a:b?x", ["scheme": "a", "value": "b"]),
    ("a:FXX", ["scheme": "a", "value": "FXX"]), ("a:b?c?d=1", ["scheme": "a", "value": "b", "c?d": 1]),
    ("a: b ", ["scheme": "a", "value": " b "]), ("a://h/p", ["scheme": "a", "value": "//h/p"]),
    ("a:b?x=-5&y=+5&z=.5&u=5.", ["scheme": "a", "value": "b", "x": -5, "y": 5, "z": 0.5, "u": 5.0]),
    ("string:foo?type=out", ["scheme": "string", "value": "foo", "type": "out"]),
    ("a:b?x=%ff", ["scheme": "a", "value": "b", "x": "\u{FFFD}"]), ("a:b?=1", ["scheme": "a", "value": "b", "": 1]),
    (" \ta:b", ["scheme": "a", "value": "b"]), ("a::b", ["scheme": "a", "value": ":b"]),
    ("a:[x", ["scheme": "a", "value": "[x"]),
    ("a:b?x=100%&y=%4", ["scheme": "a", "value": "b", "x": "100%", "y": "%4"]),
    ("afterok:ƒ2oLkTLb", ["scheme": "afterok", "value": "ƒ2oLkTLb"]),
    // JSON has no infinity, where Flux writes one.
    ("a:b?x=inf&y=nan&z=1e999", ["scheme": "a", "value": "b", "x": "inf", "y": "nan", "z": "1e999"]),
  ]

  @Test(arguments: vectors)
  func parsesCommandLine(text: String, json: JSON) throws {
    let dependency = try Dependency(parsing: text)
    #expect(dependency.json == json)
    #expect(try Dependency(json) == dependency)
  }

  @Test(arguments: ["", ":b", "a b:c", "A_b:c", "1a:b", "afterok?x=1", "é:x", "a:b?scheme=x", "a:b?value=1"])
  func rejectsCommandLine(text: String) {
    #expect { try Dependency(parsing: text) } throws: { ($0 as? FormatError)?.code == .dependency }
  }

  static let invalid: [(JSON, String)] = [
    (["value": "x"], "Missing key (scheme)"), (["scheme": "x"], "Missing key (value)"),
    (["scheme": 1, "value": "x"], "dependency scheme must be a string"),
    (["scheme": "x", "value": 1], "dependency value must be a string"), ("x", "dependency must be a mapping"),
  ]

  @Test(arguments: invalid)
  func rejectsJSON(json: JSON, message: String) {
    #expect { try Dependency(json) } throws: { ($0 as? FormatError)?.message == message }
  }

  @Test func optionsCannotReplaceTheFixedKeys() {
    let dependency = Dependency(scheme: "a", value: "b", options: ["value": 7, "x": 1])
    #expect(dependency.json.text == #"{"scheme":"a","value":"b","x":1}"#)
  }
}
