// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob
import Testing

@testable import Agent

/// Who is let go to which target, and in which order.
@Suite struct TargetGovernorTests {
  private static let a = Target(uri: FluxURI(local: "/a"), label: "a")
  private static let b = Target(uri: FluxURI(local: "/b"), label: "b")

  private let governor: TargetGovernor
  private let inputs: AsyncStream<Agent.Input>
  private let sink: AsyncStream<Agent.Input>.Continuation

  init() throws {
    (inputs, sink) = AsyncStream.makeStream()
    governor = TargetGovernor(sink: sink)
    governor.begin()
  }

  private func configure(_ json: String) throws {
    let list = try TargetList(configuration: try JSON(parsing: #"{"delegate":[\#(json)]}"#))
    governor.configure(list.terms, targets: list.targets)
  }

  private func id(_ number: UInt64) -> JobID { JobID(rawValue: number) }

  /// The jobs that were told that they can go, in their order.
  private func told() async -> [UInt64] {
    sink.finish()
    var ids: [UInt64] = []
    for await input in inputs { if case .job(let id, .admissible) = input { ids.append(id.rawValue) } }
    return ids
  }

  @Test func inTheOrderOfComing() async throws {
    try configure(#"{"uri":"local:///a","label":"a","max-jobs":1},{"uri":"local:///b","label":"b","max-jobs":1}"#)
    #expect(governor.admit(id(1), to: Self.a) == nil)
    #expect(governor.admit(id(2), to: Self.b) == nil)
    // One of both, then one that wants just this one.
    #expect(governor.open([Self.a, Self.b], for: id(3), waits: true).targets.isEmpty)
    #expect(governor.admit(id(4), to: Self.a)?.contains("max-jobs is 1") == true)
    governor.leave(id(1), Self.a.uri)
    // It has its place: whoever comes now comes later.
    #expect(governor.open([Self.a, Self.b], for: id(3), waits: true).targets == [Self.a])
    #expect(governor.admit(id(5), to: Self.a) != nil)
    governor.forget(id(3))
    #expect(governor.admit(id(4), to: Self.a) == nil)
    #expect(await told() == [3, 4])
  }

  /// A rate's allowance is for those that wait, not for those that come.
  @Test func nobodyOvertakes() async throws {
    try configure(#"{"uri":"local:///a","label":"a","max-rate":1}"#)
    #expect(governor.admit(id(1), to: Self.a) == nil)
    #expect(governor.admit(id(2), to: Self.a) != nil)
    try await Task.sleep(for: .milliseconds(1100))
    #expect(governor.admit(id(3), to: Self.a)?.contains("a: ") == true)
    #expect(governor.admit(id(2), to: Self.a) == nil)
    #expect(await told() == [2])
  }

  /// Who only looks whether it could go elsewhere does not wait there, and is not counted.
  @Test func lookingDoesNotCount() async throws {
    try configure(#"{"uri":"local:///a","label":"a","max-jobs":1}"#)
    #expect(governor.admit(id(1), to: Self.a) == nil)
    #expect(governor.open([Self.a], for: id(2), waits: false).targets.isEmpty)
    #expect(governor.admit(id(2), to: Self.a, waits: false) != nil)
    governor.leave(id(1), Self.a.uri)
    #expect(governor.standing(of: Self.a.uri).jobs == 0)
    #expect(await told() == [])
  }

  @Test func aNewConfigurationIsLookedAt() async throws {
    try configure(#"{"uri":"local:///a","label":"a","drain":true}"#)
    #expect(governor.open([Self.a], for: id(1), waits: true).words == "a: drained")
    try configure(#"{"uri":"local:///a","label":"a","drain":true},{"uri":"local:///b","label":"b"}"#)
    #expect(governor.open([Self.a, Self.b], for: id(1), waits: true).targets == [Self.b])
    #expect(await told() == [1])
  }

  /// Until the jobs of the agent before are known, nobody knows how many are there.
  @Test func notBeforeAllAreKnown() async throws {
    let governor = TargetGovernor(sink: sink)
    #expect(governor.admit(id(1), to: Self.a)?.contains("just begun") == true)
    governor.enter(id(2), Self.a.uri)
    governor.begin()
    #expect(governor.standing(of: Self.a.uri).jobs == 2)
    #expect(await told() == [1])
  }

  /// Those that cannot be reached come last.
  @Test func reachableOnesComeFirst() throws {
    governor.noteConnection(Self.a.uri, succeeded: false)
    #expect(governor.open([Self.a, Self.b], for: id(1), waits: true).targets == [Self.b])
    governor.noteConnection(Self.b.uri, succeeded: false)
    #expect(governor.open([Self.a, Self.b], for: id(1), waits: true).targets == [Self.a, Self.b])
    governor.noteConnection(Self.a.uri, succeeded: true)
    #expect(governor.open([Self.a, Self.b], for: id(1), waits: true).targets == [Self.a])
  }

  /// Ten thousand that wait cost each other nothing.
  @Test func manyWait() async throws {
    try configure(#"{"uri":"local:///a","label":"a","max-jobs":1},{"uri":"local:///b","label":"b","drain":true}"#)
    #expect(governor.admit(id(0), to: Self.a) == nil)
    for number in 1...10_000 as ClosedRange<UInt64> {
      #expect(governor.open([Self.a, Self.b], for: id(number), waits: true).targets.isEmpty)
    }
    for number in 0..<10_000 as Range<UInt64> { governor.leave(id(number), Self.a.uri) }
    #expect(await told() == Array(1...10_000))
  }
}
