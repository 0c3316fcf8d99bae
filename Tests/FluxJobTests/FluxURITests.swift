// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct FluxURITests {
  @Test func local() throws {
    let uri = try FluxURI(parsing: "local:///tmp/flux-1NvaWi/local-0")
    #expect(uri == FluxURI(local: "/tmp/flux-1NvaWi/local-0"))
    #expect(uri.scheme == .local && uri.user == nil && uri.host == nil && uri.port == nil)
    #expect(uri.path == "/tmp/flux-1NvaWi/local-0" && uri.description == "local:///tmp/flux-1NvaWi/local-0")
    #expect(try FluxURI(parsing: "local:///a b/é;$x").path == "/a b/é;$x")
    #expect(try FluxURI(parsing: "local:///" + String(repeating: "x", count: 106)).path.utf8.count == 107)
  }

  @Test func ssh() throws {
    let uri = try FluxURI(parsing: "ssh://u@h.example.com:22/tmp/flux/local")
    #expect(uri.scheme == .ssh && uri.user == "u" && uri.host == "h.example.com" && uri.port == 22)
    #expect(uri.path == "/tmp/flux/local" && uri.description == "ssh://u@h.example.com:22/tmp/flux/local")
    for text in ["ssh://h/p", "ssh://u@h/p", "ssh://h:65535/a/b-c_d.e,f@g+h=i%25:j", "ssh://h:1//p"] {
      #expect(try FluxURI(parsing: text).description == text)
    }
  }

  /// Text, and a word of the message.
  @Test(arguments: [
    ("", "no scheme"), ("/tmp/local", "no scheme"), ("local:/tmp/x", "no scheme"), ("ssh:h", "no scheme"),
    ("foo://h/p", "unknown scheme 'foo': write local:///path/to/socket or ssh://host/path/to/socket"),
    ("LOCAL:///p", "unknown scheme"), ("://h/p", "unknown scheme ''"), ("local://", "no path"),
    ("local:///", "no path"),
    ("local://tmp/x", "three slashes"), ("local://x", "three slashes"), ("local:///p?x=1", "query"),
    ("ssh://h/p#f", "query"),
    ("local:///a\u{0}b", "control"), ("ssh://h/p\n", "control"), ("ssh:///p", "no host"), ("ssh://u@/p", "no host"),
    ("ssh://:22/p", "no host"), ("ssh://h", "no path"), ("ssh://h/", "no path"), ("ssh://@h/p", "empty user"),
    ("ssh://h:0/p", "port"), ("ssh://h:65536/p", "port"), ("ssh://h:/p", "port"), ("ssh://h:+22/p", "port"),
    ("ssh://h:22x/p", "port"), ("ssh://h:99999999999999999999/p", "port"), ("ssh://-oProxyCommand=x/p", "'-'"),
    ("ssh://-u@h/p", "'-'"), ("ssh://h;x/p", "the host"), ("ssh://h x/p", "the host"), ("ssh://u$x@h/p", "the user"),
    ("ssh://a@b@h/p", "the user"), ("ssh://[::1]/p", "port"), ("ssh://h/a b", "remote shell"),
    ("ssh://h/a;b", "remote shell"),
    ("ssh://h/$(x)", "remote shell"), ("ssh://h/`x`", "remote shell"), ("ssh://h/a'b", "remote shell"),
    ("ssh://h/a\\b", "remote shell"), ("ssh://h/é", "remote shell"), ("ssh://h/*", "remote shell"),
    ("ssh://hé/p", "the host"),
  ])
  func rejects(text: String, word: String) {
    #expect { try FluxURI(parsing: text) } throws: { error in
      let error = error as? FormatError
      return error?.code == .uri && error?.message.contains(word) == true
    }
  }

  @Test func lengthLimits() {
    #expect { try FluxURI(parsing: "local:///" + String(repeating: "x", count: 107)) } throws: {
      ($0 as? FormatError)?.message.contains("107") == true
    }
    #expect(throws: Never.self) { try FluxURI(parsing: "ssh://h/" + String(repeating: "x", count: 4088)) }
    #expect { try FluxURI(parsing: "ssh://h/" + String(repeating: "x", count: 4089)) } throws: {
      ($0 as? FormatError)?.message.contains("4096") == true
    }
  }

  @Test func randomTextNeverCrashes() {
    var random = SplitMix64(seed: 19)
    let pieces = ["local", "ssh", "://", ":", "/", "//", "@", "h", "u", "22", "é", "-", " ", "x"]
    for _ in 0..<20000 {
      let text = (0..<random.int(1...9)).map { _ in random.pick(pieces) }.joined()
      guard let uri = try? FluxURI(parsing: text) else { continue }
      #expect((try? FluxURI(parsing: uri.description)) == uri)
    }
  }
}
