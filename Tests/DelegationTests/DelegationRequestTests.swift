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
    ("", "the value is empty"), ("corona", "'corona' is not a URI"), ("foo:///x", "unknown scheme 'foo'"),
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

  @Test func optionsAreNamed() {
    #expect { try request("local:///x", options: ["x": 1]) } throws: { "\($0)".contains("unknown option 'x'") }
  }
}
