// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import TestSupport
import Testing

@testable import Targets

/// Searching a target that may lie.
@Suite struct MarkFinderTests {
  private static let mark = HostileTargetTests.mark

  private static func search(
    _ limits: MarkFinder.Limits = MarkFinder.Limits(), script: @escaping FakeInstance.Script
  ) async throws -> FluxTarget.Copy? {
    try await FakeInstance.with(script: script) { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: HostileTargetTests.logger) {
        connection in
        try await MarkFinder(connection, userID: 1, limits: limits).copy(of: mark)
      }
    }
  }

  private static func failure(
    _ limits: MarkFinder.Limits, script: @escaping FakeInstance.Script
  ) async throws -> String {
    do {
      let copy = try await search(limits, script: script)
      return "found \(String(describing: copy))"
    } catch let error as ConnectionError {
      let failure = FluxTarget.failure(error, "")
      #expect(failure.isTransient, "it may be seen later")
      return failure.message
    }
  }

  /// One that says nothing cannot be seen, and it is said why.
  @Test func aSilentTargetCannotBeSeen() async throws {
    let limits = MarkFinder.Limits(idle: .milliseconds(50))
    let words = try await Self.failure(limits) { _, _ in }
    #expect(words.hasSuffix("lists its jobs: nothing for 0.05 seconds"), "\(words)")
  }

  @Test func aListingWithoutEndIsEnded() async throws {
    for jobs in [[["id": 1], ["id": 2]], []] as [JSON] {
      let words = try await Self.failure(MarkFinder.Limits(jobs: 99, idle: .seconds(600))) { request, peer in
        while !Task.isCancelled { try await peer.answer(request, ["jobs": jobs]) }
      }
      #expect(words.hasSuffix("lists more than 99 jobs"), "\(words)")
    }
    let slow = try await Self.failure(MarkFinder.Limits(idle: .seconds(1000), total: .milliseconds(50))) {
      request, peer in
      try await peer.answer(request, ["jobs": []])
    }
    #expect(slow.hasSuffix("lists its jobs: not done within 0.05 seconds"), "\(slow)")
  }

  /// A jobspec may be long; who has sent it finds it.
  @Test func aLongJobspecIsRead() async throws {
    let limits = MarkFinder.Limits(idle: .seconds(600))
    let copy = try await Self.search(limits) { request, peer in
      if request.topic == "job-list.list" {
        try await peer.answer(
          request, ["jobs": [["id": 5, "urgency": 0, "state": 8], ["id": 6, "urgency": 0, "state": 8]]])
        return try await peer.refuse(request, .noData)
      }
      let isOurs = try request.json()?["id"]?.intValue == 6
      let text = JSON.string(String(repeating: "x", count: 3 << 20))
      let jobspec: JSON = ["environment": text, "attributes": ["user": isOurs ? ["delegate": Self.mark.json] : [:]]]
      try await peer.answer(request, ["jobspec": .string(jobspec.text)])
    }
    #expect(copy == FluxTarget.Copy(id: JobID(rawValue: 6), attempt: 1))
  }
}
