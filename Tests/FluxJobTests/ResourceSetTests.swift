// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct ResourceSetTests {
  /// Captured from `resource.status` of flux-core 0.88.
  static let captured =
    #"{"version":1,"execution":{"R_lite":[{"rank":"0-3","children":{"gpu":"0","core":"0-3"}}],"starttime":0.0,"#
    + #""expiration":0.0,"nodelist":["node[0-3]"],"properties":{"amd":"0-1","batch":"0-1","debug":"2-3"}}}"#
  /// An empty set, captured.
  static let empty =
    #"{"version":1,"execution":{"R_lite":[],"starttime":0.0,"expiration":0.0,"nodelist":[""]}}"#
  /// The example of RFC 20.
  static let example =
    #"{"version":1,"execution":{"R_lite":[{"rank":"19-22","children":{"core":"0-47","gpu":"0-7"}}],"nodelist":["#
    + #""node[186-189]"],"nslots":32,"starttime":1676560542,"expiration":1676562342}}"#

  @Test func capturedSet() throws {
    let set = try ResourceSet(parsing: Self.captured)
    #expect(set.nodeCount == 4 && set.coreCount == 16 && set.gpuCount == 4 && !set.isEmpty)
    #expect(set.rankSet.description == "0-3" && set.hostlist.description == "node[0-3]")
    #expect(set.ranks[2] == ResourceSet.Rank(rank: 2, host: "node2", cores: IDSet(0..<4), gpus: [0]))
    #expect(set.properties == ["amd": [0, 1], "batch": [0, 1], "debug": [2, 3]])
    #expect(set.startTime == 0 && set.expiration == 0 && set.scheduling == nil && set.slots == nil)
    #expect(set.json.text == Self.captured)
  }

  @Test func emptySet() throws {
    let set = try ResourceSet(parsing: Self.empty)
    #expect(set.isEmpty && set.nodeCount == 0 && set.coreCount == 0 && set.gpuCount == 0)
    #expect(set.json.text == Self.empty)
    #expect(ResourceSet(ranks: []).json.text == Self.empty)
  }

  @Test func exampleOfTheRFC() throws {
    let set = try ResourceSet(parsing: Self.example)
    #expect(set.nodeCount == 4 && set.coreCount == 192 && set.gpuCount == 32 && set.slots == 32)
    #expect(set.startTime == 1_676_560_542 && set.expiration == 1_676_562_342)
    #expect(set.hostlist.hosts == ["node186", "node187", "node188", "node189"])
    #expect(try ResourceSet(set.json) == set)
  }

  @Test func hostsGoWithSortedRanks() throws {
    let set = try ResourceSet([
      "version": 1,
      "execution": [
        "R_lite": [["rank": "3", "children": ["core": "0"]], ["rank": "0-1", "children": ["core": "0-1"]]],
        "nodelist": ["b,a", "x7"], "starttime": 1, "expiration": 9_223_372_036,
      ],
      "scheduling": ["graph": ["nodes": []]],
    ])
    #expect(set.ranks.map(\.rank) == [0, 1, 3] && set.ranks.map(\.host) == ["b", "a", "x7"])
    #expect(set.scheduling == ["graph": ["nodes": []]])
    #expect(set.json["scheduling"] == ["graph": ["nodes": []]])
    #expect(
      set.json["execution"]?["R_lite"]?.text
        == #"[{"rank":"0-1","children":{"core":"0-1"}},{"rank":"3","children":{"core":"0"}}]"#)
    #expect(set.json["execution"]?["nodelist"] == ["b,a,x7"])
  }

  @Test func groupsEqualRanks() {
    let ranks = [5, 0, 2, 1].map { ResourceSet.Rank(rank: $0, host: "n\($0)", cores: $0 == 1 ? [0] : [0, 1]) }
    #expect(
      ResourceSet(ranks: ranks).json["execution"]?["R_lite"]?.text
        == #"[{"rank":"0,2,5","children":{"core":"0-1"}},{"rank":"1","children":{"core":"0"}}]"#)
  }

  @Test func sameRankTwiceIsMerged() throws {
    let set = try ResourceSet(
      parsing:
        #"{"version":1,"execution":{"R_lite":[{"rank":"0","children":{"core":"0"}},{"rank":"0","children":"#
        + #"{"core":"2","gpu":"1"}}],"nodelist":["h"]}}"#)
    #expect(set.ranks == [ResourceSet.Rank(rank: 0, host: "h", cores: [0, 2], gpus: [1])])
  }

  @Test func settingRanksSortsThem() {
    var set = ResourceSet(ranks: [])
    set.ranks = [
      .init(rank: 1, host: "b", cores: [0]), .init(rank: 0, host: "a", cores: [1]),
      .init(rank: 1, host: "", cores: [2]),
    ]
    #expect(set.ranks == [.init(rank: 0, host: "a", cores: [1]), .init(rank: 1, host: "b", cores: [0, 2])])
    set.ranks[0].host = "c"
    #expect(set.hostlist.hosts == ["c", "b"])
  }

  @Test func hostsMayBeUnknown() throws {
    for nodelist in ["", #","nodelist":[]"#, #","nodelist":[""]"#] {
      let set = try ResourceSet(
        parsing: #"{"version":1,"execution":{"R_lite":[{"rank":"0-1","children":{"core":"0"}}]\#(nodelist)}}"#)
      #expect(set.ranks.map(\.host) == ["", ""] && set.hostlist.isEmpty)
      #expect(try ResourceSet(set.json) == set)
    }
  }

  @Test func hostCountMismatchNamesBothCounts() {
    #expect {
      try ResourceSet(
        parsing: #"{"version":1,"execution":{"R_lite":[{"rank":"0","children":{"core":"0"}}],"nodelist":["n[0-3]"]}}"#)
    } throws: { error in
      let message = (error as? FormatError)?.message ?? ""
      return message.contains("4 hosts") && message.contains("1 ranks")
    }
  }

  static let invalid = [
    "", "[]", "{}", #"{"version":1}"#, #"{"version":2,"execution":{"R_lite":[]}}"#, #"{"execution":{"R_lite":[]}}"#,
    #"{"version":1,"execution":[]}"#, #"{"version":1,"execution":{}}"#, #"{"version":1,"execution":{"R_lite":{}}}"#,
    #"{"version":1,"execution":{"R_lite":[1]}}"#, #"{"version":1,"execution":{"R_lite":[{"rank":"0"}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":0,"children":{"core":"0"}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":"1-0","children":{"core":"0"}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":"0","children":{"core":[0]}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":"0","children":{"core":"x"}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":"0","children":{"gpu":"x"}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[{"rank":"0-2147483647","children":{"core":"0"}}]}}"#,
    #"{"version":1,"execution":{"R_lite":[],"nodelist":"a"}}"#,
    #"{"version":1,"execution":{"R_lite":[],"nodelist":[1]}}"#,
    #"{"version":1,"execution":{"R_lite":[],"nodelist":["a[0"]}}"#,
    #"{"version":1,"execution":{"R_lite":[],"nodelist":["a"]}}"#,
    #"{"version":1,"execution":{"R_lite":[],"starttime":"0"}}"#,
    #"{"version":1,"execution":{"R_lite":[],"expiration":-1}}"#,
    #"{"version":1,"execution":{"R_lite":[],"nslots":0}}"#, #"{"version":1,"execution":{"R_lite":[],"properties":[]}}"#,
    #"{"version":1,"execution":{"R_lite":[],"properties":{"a|b":"0"}}}"#,
    #"{"version":1,"execution":{"R_lite":[],"properties":{"a":"x"}}}"#,
  ]

  @Test(arguments: invalid)
  func rejects(text: String) {
    #expect { try ResourceSet(parsing: text) } throws: { ($0 as? FormatError)?.code == .resourceSet }
  }

  @Test func subtractsPerRankAndCore() throws {
    var all = try ResourceSet(parsing: Self.captured)
    all.expiration = 7
    let busy = ResourceSet(ranks: [
      ResourceSet.Rank(rank: 0, host: "node0", cores: [0, 1, 2, 3], gpus: [0]),
      ResourceSet.Rank(rank: 1, host: "node1", cores: [0, 3]), ResourceSet.Rank(rank: 9, host: "other", cores: [0]),
    ])
    let free = all.subtracting(busy)
    #expect(free.rankSet == [1, 2, 3] && free.coreCount == 10 && free.gpuCount == 3 && free.expiration == 7)
    #expect(free.ranks[0] == ResourceSet.Rank(rank: 1, host: "node1", cores: [1, 2], gpus: [0]))
    #expect(free.properties == ["amd": [1], "batch": [1], "debug": [2, 3]])
    #expect(all.intersection(busy).coreCount == 6 && all.intersection(busy).rankSet == [0, 1])
    #expect(all.subtracting(all).json["execution"]?["R_lite"] == [])
  }

  @Test func algebraAgreesWithSetsOfCores() {
    var random = SplitMix64(seed: 12)
    for _ in 0..<1000 {
      let left = random.resourceSet()
      let right = random.resourceSet()
      #expect(left.union(right).atoms == left.atoms.union(right.atoms))
      #expect(left.subtracting(right).atoms == left.atoms.subtracting(right.atoms))
      #expect(left.intersection(right).atoms == left.atoms.intersection(right.atoms))
      #expect(left.coreCount + left.gpuCount == left.atoms.count)
    }
  }

  @Test func roundTripsRandomSets() throws {
    var random = SplitMix64(seed: 13)
    for _ in 0..<1000 {
      var set = random.resourceSet()
      set.startTime = Double(random.int(0...1000)) / 8
      set.expiration = Double(random.int(0...1000))
      set.properties = ["p": set.rankSet]
      set.slots = random.bool() ? nil : random.int(1...9)
      set.scheduling = random.bool() ? nil : random.json(depth: 2)
      #expect(try ResourceSet(set.json) == set)
      #expect(try ResourceSet(parsing: set.json.text) == set)
    }
  }
}

extension ResourceSet {
  /// Every core and GPU as text.
  var atoms: Set<String> {
    Set(ranks.flatMap { rank in rank.cores.map { "\(rank.rank)/c\($0)" } + rank.gpus.map { "\(rank.rank)/g\($0)" } })
  }
}

extension SplitMix64 {
  mutating func resourceSet() -> ResourceSet {
    var ranks: [ResourceSet.Rank] = []
    for rank in 0..<8 where bool() {
      let cores = IDSet((0..<int(0...4)).map { _ in int(0...7) })
      let gpus = IDSet((0..<int(0...2)).map { _ in int(0...3) })
      ranks.append(ResourceSet.Rank(rank: rank, host: "n\(rank)", cores: cores, gpus: gpus))
    }
    return ResourceSet(ranks: ranks.shuffled(using: &self))
  }
}
