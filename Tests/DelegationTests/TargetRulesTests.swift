// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// What a target's entry in the configuration changes in the jobs that are sent there.
@Suite struct TargetRulesTests {
  private func jobspec(_ system: String) throws -> Jobspec {
    try Jobspec(
      parsing: """
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"per_slot":1}}],
        "attributes":{"system":{"duration":0,\(system)}}}
        """)
  }

  private func rules(_ text: String) throws -> TargetRules {
    let list = try TargetList(configuration: try JSON(parsing: #"{"delegate":[{"uri":"local:///b",\#(text)}]}"#))
    return try #require(list.rules[FluxURI(local: "/b")])
  }

  @Test(arguments: [
    (#""queue":"q""#, #""queue":"debug""#, "q"), (#""queue":"q""#, #""bank":"x""#, "q"),
    (#""queue":"""#, #""queue":"debug""#, nil), (#""queue":{"debug":"pdebug"}"#, #""queue":"debug""#, "pdebug"),
    (#""queue":{"debug":"pdebug"}"#, #""queue":"batch""#, "batch"),
    (#""queue":{"debug":""}"#, #""queue":"debug""#, nil),
    (#""queue":{"debug":"pdebug"}"#, #""bank":"x""#, nil), (#""bank":"y""#, #""queue":"debug""#, "debug"),
  ]) func queues(_ rule: String, _ system: String, _ queue: String?) throws {
    var jobspec = try jobspec(system)
    try rules(rule).apply(to: &jobspec)
    #expect(jobspec.queue == queue)
    #expect(jobspec.duration == 0, "the rest stays")
  }

  @Test func environment() throws {
    var jobspec = try jobspec(#""environment":{"A":"1","B":"2","C":"3"}"#)
    try rules(#""environment":{"A":"x","B":false,"D":"new"}"#).apply(to: &jobspec)
    #expect(jobspec.environment == ["A": "x", "C": "3", "D": "new"])
  }

  @Test(arguments: [
    (#""queue":1"#, "target 0 of the configuration: 'queue' is not a string"),
    (#""bank":{"a":1}"#, "'bank' is not a string, or a table of strings"),
    (#""environment":{"A":true}"#, "each a string or false"), (#""environment":"x""#, "'environment' is not a table"),
  ]) func mistakes(_ text: String, _ words: String) throws {
    #expect { try rules(text) } throws: { "\($0)".contains(words) }
  }

  @Test func listsOfCandidates() throws {
    let list = try TargetList(configuration: [
      "delegate": [["uri": "local:///a", "label": "a"], ["uri": "local:///b", "label": "b"], "local:///c"]
    ])
    func names(_ request: JSON) throws -> [String] {
      try list.candidates(for: DelegationRequest(attribute: request)).map(\.name)
    }
    #expect(try names("random") == ["a", "b", "local:///c"])
    #expect(try names("b") == ["b"])
    #expect(try names(["targets": ["local:///c", "a", "a"]]) == ["local:///c", "a"])
    #expect(try names(["policy": "least_pending", "targets": ["b"]]) == ["b"])
    #expect { try names(["targets": ["x"]]) } throws: { "\($0)".contains("there is no target 'x'") }
    for (bad, words) in [
      (JSON.object(["targets": []]), "a list of 1 to 64"), (["targets": ["random"]], "neither a label nor a URI"),
      (["policy": "a", "targets": ["b"]], "names one target"),
      (["policy": "random", "attempts": 0], "'attempts' is 0"),
    ] {
      #expect { try DelegationRequest(attribute: bad) } throws: { "\($0)".contains(words) }
    }
  }
}
