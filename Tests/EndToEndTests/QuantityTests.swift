// SPDX-License-Identifier: LGPL-3.0-only

import Testing

/// Many jobs, and many targets.
@Suite(.serialized) struct QuantityTests {
  /// 64 targets, each gets its share of what is submitted to any of them.
  @Test func sixtyFourTargets() async throws {
    try await withInstance(.embedded, name: "a") { a in
      try await Self.withTargets(64, []) { uris in
        let entries = uris.enumerated().map { "{\"uri\":\"\($0.element)\",\"label\":\"t\($0.offset)\"}" }
        try await load(a, "{\"delegate\":[\(entries.joined(separator: ","))]}")
        let loaded = try await a("jobtap", "load", Build.plugin)
        try #require(loaded.code == 0, "\(loaded)")
        let descriptorsBefore = try descriptors(try await a.agent())
        for number in [0, 17, 63] {
          let ran = try await a("run", "-S", "system.delegate=t\(number)", "echo", "\(number)")
          #expect(ran.out == "\(number)\n", "\(ran)")
        }
        let submitted = try await a("submit", "--cc=1-300", "-S", "system.delegate=random", "--wait", "true")
        #expect(submitted.code == 0, "\(submitted)")
        let done = try await a("jobs", "-a", "-n", "-c", "0", "-o", "{status_abbrev} {user.delegate.target}")
        #expect(done.lines.count == 303 && done.lines.allSatisfy { $0.hasPrefix("CD") })
        // Descriptors are per target, not per job.
        let descriptorsAfter = try descriptors(try await a.agent())
        #expect(descriptorsAfter - descriptorsBefore <= 64 + 8, "\(descriptorsBefore) \(descriptorsAfter)")
        let least = try await a("run", "-S", "system.delegate=least_pending", "echo", "x")
        #expect(least.out == "x\n", "\(least)")
      }
    }
  }

  private static func withTargets(
    _ count: Int, _ uris: [String], _ body: @Sendable @escaping ([String]) async throws -> Void
  ) async throws {
    guard count > 0 else { return try await body(uris) }
    try await withInstance(.embedded, name: "t\(count)") { target in
      try await withTargets(count - 1, uris + [target.uri], body)
    }
  }

  /// One thousand at once.
  @Test func aThousandJobs() async throws {
    try await withPair(.embedded) { a, b in
      let submitted = try await a("submit", "--cc=1-1000", "-S", "system.delegate=bee", "--wait", "true")
      #expect(submitted.code == 0, "\(submitted)")
      for instance in [a, b] {
        let done = try await instance("jobs", "-a", "-n", "-c", "0", "-o", "{status_abbrev}")
        #expect(done.lines.count == 1000 && done.lines.allSatisfy { $0 == "CD" })
      }
    }
  }
}
