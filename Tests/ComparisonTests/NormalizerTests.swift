// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct NormalizerTests {
  private static let first = JobID(milliseconds: 1500, generator: 0, sequence: 0)
  private static let second = JobID(milliseconds: 2500, generator: 0, sequence: 1)

  @Test func aJobHasOneNameInAllEncodings() {
    var normalize = Normalizer(paths: [])
    for encoding in [JobID.Encoding.f58, .f58plain, .dec, .hex, .kvs, .dothex, .words] {
      #expect(normalize("a \(Self.first.encoded(encoding)).") == "a <id1>.", "\(encoding)")
    }
    #expect(normalize(Self.second.encoded(.f58)) == "<id2>")
    #expect(normalize(Self.first.encoded(.f58)) == "<id1>")
  }

  @Test func columnsThatAnIDFillsAreTheSame() {
    var normalize = Normalizer(paths: [])
    #expect(normalize("    \(Self.first.encoded(.f58)) root") == " <id1> root")
  }

  @Test(arguments: [
    ("1764096000.123456 submit", "<time> submit"),
    ("2026-11-25T19:03:59.227719Z x", "<time> x"),
    ("[Nov25 19:03] x", "[<time>] x"),
    ("CD      1   0.031s vm", "CD      1<duration> vm"),
    (#"{"runtime": 0.25, "duration": 60.0}"#, #"{"runtime": <duration>, "duration": 60.0}"#),
    (#"{"pid":123,"rank":1}"#, #"{"pid":<pid>,"rank":1}"#),
    ("task 0 (host vm): start failed", "task 0 (host <host>): start failed"),
    ("/run/x/local-0 /run/x", "<run>/local-0 <run>"),
  ]) func whatHasToDiffer(_ text: String, _ expected: String) {
    var normalize = Normalizer(paths: [("/run/x", "<run>")])
    #expect(normalize(text) == expected)
  }

  @Test(arguments: [
    "foreground fetching", "exit 42", "node[0-1]", "duration 60.0", "only 2 eligible", "status=36608", "f1",
    "12345.678", "hello, world", #"{"duration": 300.0}"#,
  ]) func theRestStays(_ text: String) {
    var normalize = Normalizer(paths: [])
    #expect(normalize(text) == text)
  }
}
