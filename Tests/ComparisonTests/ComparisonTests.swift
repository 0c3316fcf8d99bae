// SPDX-License-Identifier: LGPL-3.0-only

import Foundation
import TestSupport
import Testing

/// Flux's own commands against a real Flux and an embedded instance of the same size: the same answers.
@Suite struct ComparisonTests {
  /// How many files are run at once, each on two instances.
  private static let width = 3

  @Test(.enabled(if: Flux.isThere, "flux is not on PATH"))
  func sameAsFlux() async throws {
    let directory = "/tmp/fd-comparison-\(getpid())"
    defer { try? FileManager.default.removeItem(atPath: directory) }
    let files = try CaseFile.all()
    let findings = try await withThrowingTaskGroup(of: (Int, [Finding]).self) { group in
      // The longest first, so that none is left over at the end.
      var waiting = files.enumerated().sorted { $0.element.cases.count > $1.element.cases.count }
      var found: [Int: [Finding]] = [:]
      func startNext() {
        guard !waiting.isEmpty else { return }
        let (index, file) = waiting.removeFirst()
        group.addTask { (index, try await Self.compare(file, in: "\(directory)/\(file.name)")) }
      }
      for _ in 0..<Self.width { startNext() }
      while let (index, findings) = try await group.next() {
        found[index] = findings
        startNext()
      }
      return files.indices.map { found[$0] ?? [] }
    }
    for complaint in findings.joined().compactMap(\.complaint) { Issue.record("\(complaint)") }
    let report = ComparisonReport(files: Array(zip(files, findings))).markdown
    if ProcessInfo.processInfo.environment["FD_COMPARISON_REPORT"] != nil {
      try report.write(toFile: ComparisonReport.path, atomically: true, encoding: .utf8)
    }
    let committed = try? String(contentsOfFile: ComparisonReport.path, encoding: .utf8)
    #expect(committed == report, "docs/comparison.md is not what was found: make it anew with FD_COMPARISON_REPORT=1")
  }

  private static func compare(_ file: CaseFile, in directory: String) async throws -> [Finding] {
    let flux = try Side(.flux, directory: "\(directory)/flux")
    let embedded = try Side(.embedded, directory: "\(directory)/embedded")
    async let theirs = flux.answers(to: file.cases)
    async let ours = embedded.answers(to: file.cases)
    return zip(file.cases, try await zip(theirs, ours)).map { given, answers in
      Finding(given: given, flux: answers.0, embedded: answers.1)
    }
  }
}
