// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// What a target says costs home no more than so much, however much it is.
@Suite struct BoundTests {
  private static let long = String(repeating: "ä", count: 100_000)

  @Test func aFailureHasSoManyWords() {
    let failure = TargetFailure("b: " + Self.long, isTransient: true)
    #expect(failure.message.utf8.count <= 4096 && failure.message.hasSuffix("ä…"))
  }

  /// What became of an attempt is kept as it is on record.
  @Test func anAttemptHasSoManyWords() throws {
    var job = MirrorTests.new()
    _ = job.handle(.discovered(isNew: true, Submission(userID: 0, urgency: 16, time: 1)))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    _ = job.handle(.read(try MirrorTests.record([], delegate: #""random""#)))
    _ = job.handle(.chosen(MirrorTests.target))
    _ = job.handle(.written)
    guard case .post("delegate::exception", let context) = job.handle(.rejected(Self.long)).first else {
      Issue.record("\(job.state)")
      return
    }
    #expect(context["note"]?.stringValue?.utf8.count ?? 0 <= 1000)
    _ = job.handle(.written)
    #expect(job.failures.count == 1 && job.failures[0].utf8.count <= 1000)
  }

  /// A job has so many memos, and a word on those that are left out.
  @Test func aJobHasSoManyMemos() throws {
    var job = try MirrorTests.running()
    for number in 0..<64 as Range<Int64> {
      #expect(job.handle(.remote([.memo(["n": .int(number)])])) == [.memo(["n": .int(number)])])
    }
    guard case .complain(let words)? = job.handle(.remote([.memo(["n": 64])])).first else {
      Issue.record("nothing was said")
      return
    }
    #expect(words.contains("more than 64 memos"))
    // Once, and not of what comes again.
    #expect(job.handle(.remote([.memo(["n": 65]), .memo(["n": 1])])) == [])
  }

  /// In a chain of instances each shows its own delegation.
  @Test func theTargetDoesNotTellOfOurDelegation() {
    #expect(RemoteEvent(memo: ["delegate": ["target": "elsewhere"]]) == nil)
    #expect(
      RemoteEvent(memo: ["delegate": ["target": "elsewhere"], "uri": "local:///x"]) == .memo(["uri": "local:///x"]))
  }

  @Test func aMemoHasSoManyBytes() throws {
    let text = String(repeating: "x", count: 64 << 10)
    #expect(RemoteEvent(memo: ["text": .string(text)]) == .longMemo)
    #expect(RemoteEvent(memo: ["text": "x"]) == .memo(["text": "x"]))
    var job = try MirrorTests.running()
    #expect(job.handle(.remote([.longMemo])).count == 1)
    #expect(job.handle(.remote([.longMemo])) == [])
    // The others are passed on.
    #expect(job.handle(.remote([.memo(["a": 1])])) == [.memo(["a": 1])])
  }

  /// What another agent has written is not written again.
  @Test func memosOnRecordAreKnown() throws {
    let memo: JSONObject = ["a": 1, "b": 2]
    var job = try MirrorTests.mirroring([MirrorTests.alloc, MirrorTests.start, MirrorTests.entry("memo", memo)])
    #expect(!job.handle(.remote([.memo(["b": 2, "a": 1])])).contains(.memo(memo)))
  }

  private static func r(_ ranks: String, _ more: JSONObject = JSONObject()) -> JSON {
    var object: JSONObject = [
      "version": 1,
      "execution": ["R_lite": [["rank": .string(ranks), "children": ["core": "0-3"]]], "nodelist": ["n[0-3]"]],
    ]
    for (key, value) in more { object[key] = value }
    return .object(object)
  }

  /// As many ranks as a few bytes can name cost a few bytes.
  @Test func resourcesStayAsSmallAsTheyCame() throws {
    let usual = RemoteResources(told: Self.r("0-3"))
    let same = try ResourceSet(Self.r("0-3")).json
    #expect(usual.isKnown && usual.nodeCount == 4 && usual.json == same)
    let many: JSON = ["version": 1, "execution": ["R_lite": [["rank": "0-65535", "children": ["core": "0"]]]]]
    let resources = RemoteResources(told: many)
    #expect(resources.isKnown && resources.nodeCount == 65_536 && resources.text.utf8.count < 200)
  }

  /// What cannot be: the job goes on, on a node without a name.
  @Test func resourcesThatCannotBeAreNotTaken() throws {
    let many: JSON = ["version": 1, "execution": ["R_lite": [["rank": "0-1048575", "children": ["core": "0"]]]]]
    let names = (0..<10_000).map { "\($0)" + String(repeating: "x", count: 50) }.joined(separator: ",")
    let long: JSON = [
      "version": 1,
      "execution": ["R_lite": [["rank": "0-9999", "children": ["core": "0"]]], "nodelist": [.string(names)]],
    ]
    for told in [many, long, [:], "R", nil] {
      let resources = RemoteResources(told: told)
      #expect(!resources.isKnown && resources.nodeCount == 1 && resources.text.utf8.count < 200)
      #expect(throws: Never.self) { try ResourceSet(resources.json) }
    }
    var job = try MirrorTests.mirroring()
    let actions = job.handle(.remote([.urgency(0), .urgency(16), .started(at: 5, RemoteResources(told: many))]))
    #expect(actions.contains { if case .allocate = $0 { true } else { false } })
    #expect(actions.contains { if case .complain = $0 { true } else { false } })
  }

  /// What a scheduler keeps for itself is of no use at home.
  @Test func muchOfASchedulersOwnIsLeftOut() throws {
    let little = RemoteResources(told: Self.r("0-3", ["scheduling": "x"]))
    #expect(little.json["scheduling"] == "x")
    let much = RemoteResources(told: Self.r("0-3", ["scheduling": .string(String(repeating: "x", count: 1 << 20))]))
    #expect(much.isKnown && much.nodeCount == 4 && much.json["scheduling"] == nil)
  }
}
