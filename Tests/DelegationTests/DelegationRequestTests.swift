// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// What an owner may write, and what they are told when they write something else.
@Suite struct DelegationRequestTests {
  private func request(_ value: String, options: JSONObject = [:]) throws -> DelegationRequest {
    try DelegationRequest(dependency: Dependency(scheme: "delegate", value: value, options: options))
  }

  @Test(arguments: ["local:///tmp/flux-1/local-0", "ssh://corona189/var/tmp/me/flux-sCMd4I/local-0", "ssh://u@h:22/s"])
  func uris(_ value: String) throws {
    #expect(try request(value) == DelegationRequest(selection: .uri(try FluxURI(parsing: value)), mode: .handOff))
  }

  @Test(arguments: [
    ("foo:///x", "unknown scheme 'foo'"),
    ("ssh:///x", "host"), ("ssh://h", "path"), ("local://x", "local"),
    (String(repeating: "x", count: 64 << 10), "65536 bytes, more than 4096"),
  ]) func mistakes(_ value: String, _ words: String) {
    #expect {
      try request(value)
    } throws: { error in
      let message = "\(error)"
      return message.contains(words) && message.hasPrefix("delegate: ") && message.utf8.count < 512
    }
  }

  @Test(arguments: [
    ("", DelegationRequest.Selection.random), ("random", .random), ("assign:2", .index(2)), ("assign", .index(0)),
    ("assign:corona", .label("corona")), ("corona", .label("corona")), ("least_pending", .leastPending),
    ("shortest_match", .shortestMatch),
  ]) func policies(_ value: String, _ selection: DelegationRequest.Selection) throws {
    #expect(try request(value).selection == selection)
    #expect(try DelegationRequest(attribute: .string(value)) == DelegationRequest(selection: selection, mode: .mirror))
  }

  @Test func tables() throws {
    let table = try DelegationRequest(attribute: ["policy": "corona", "mode": "hand-off"])
    #expect(table == DelegationRequest(selection: .label("corona"), mode: .handOff))
    for (bad, words) in [
      (JSON.int(1), "not a string or a table"), (["policy": 1], "no string 'policy'"),
      (["policy": "x", "more": 1], "unknown key 'more'"), (["policy": "x", "mode": "y"], "unknown mode"),
    ] {
      #expect { try DelegationRequest(attribute: bad) } throws: { "\($0)".contains(words) }
    }
  }

  @Test func modesOfADependency() throws {
    #expect(try request("corona", options: ["mode": "mirror"]).mode == .mirror)
    #expect { try request("corona", options: ["mode": "x"]) } throws: { "\($0)".contains("unknown mode") }
  }

  @Test func configurations() throws {
    let both = try TargetList(configuration: [
      "delegate": ["local:///a", ["uri": "ssh://h/b", "label": "b"], ["uri": "local:///c"]]
    ])
    #expect(both.targets.map(\.name) == ["local:///a", "b", "local:///c"])
    #expect(try both.named(.label("b"))?.uri.description == "ssh://h/b")
    #expect(try both.named(.index(2))?.uri.description == "local:///c")
    #expect(try both.named(.random) == nil)
    #expect { try both.named(.label("x")) } throws: { "\($0)".contains("no target 'x': the configuration has b") }
    #expect { try both.named(.index(3)) } throws: { "\($0)".contains("no target 3: the configuration has 3, from 0") }
    #expect { try TargetList().named(.random) } throws: { "\($0)".contains("no targets are configured") }
    let bad: [(JSON, String)] = [
      ("x", "is no array"), ([1], "target 0 of the configuration is neither"), ([["label": "b"]], "target 0"),
      (["local:///a", ["uri": "foo:///x"]], "target 1 of the configuration: 'foo:///x'"),
      ([["uri": "local:///a", "label": "random"]], "label"),
      ([["uri": "local:///a", "colour": "x"]], "unknown key 'colour'"),
      ([["uri": "local:///a", "label": "b"], ["uri": "local:///c", "label": "b"]], "as another one has"),
    ]
    for (value, words) in bad {
      #expect { try TargetList(configuration: ["delegate": value]) } throws: { "\($0)".contains(words) }
    }
  }

  @Test func optionsAreNamed() {
    #expect { try request("local:///x", options: ["x": 1]) } throws: { "\($0)".contains("unknown option 'x'") }
  }
}
