// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The counts of a run, and the story of each job that did not fare as it should have.
struct Report {
  private let seed: UInt64
  private let evidence: [Evidence]
  private let findings: [Finding]

  init(seed: UInt64, _ evidence: [Evidence]) {
    self.seed = seed
    self.evidence = evidence
    findings = evidence.map { Checker.judge($0) }
  }

  /// The jobs that something is wrong with, each with all that is known of it.
  func failures(_ diary: Diary) async -> [String] {
    var stories: [String] = []
    for (evidence, finding) in zip(evidence, findings) where !finding.complaints.isEmpty {
      var story = story(evidence, finding)
      if let id = evidence.id { story += "\nlog:\n" + (await diary.lines(of: id)).joined(separator: "\n") }
      stories.append(story)
    }
    return stories
  }

  func count(_ verdict: Finding.Verdict) -> Int { findings.count { $0.verdict == verdict } }

  private func count(_ isWanted: (Finding.Complaint) -> Bool) -> Int {
    findings.count { $0.complaints.contains(where: isWanted) }
  }

  func counts(_ chronicle: [Fault.Kind: Int], seconds: Int) -> String {
    let faults = Fault.Kind.allCases.compactMap { kind in chronicle[kind].map { "\(kind.rawValue) \($0)" } }
    let kills = chronicle.filter(\.key.isKill).values.reduce(0, +)
    let stops = chronicle.filter(\.key.isStop).values.reduce(0, +)
    let others = chronicle.values.reduce(0, +) - kills - stops
    let ends = Finding.Verdict.allCases.map { "\($0.rawValue) \(count($0))" }
    let doubled = count { if case .doubled = $0 { true } else { false } }
    let lost = count { if case .lost = $0 { true } else { false } }
    let complaining = findings.count { !$0.complaints.isEmpty }
    let incomplete = count { if case .incomplete = $0 { true } else { false } }
    return """
      chaos: seed \(seed), \(seconds) s, \(kills) kills, \(stops) stops, \(others) others: \(faults.joined(separator: ", "))
      chaos: \(evidence.count) jobs: \(ends.joined(separator: ", "))
      chaos: \(evidence.map(\.marks).reduce(0, +)) runs, \(doubled) doubled, \(lost) lost, \(incomplete) incomplete outputs, \
      \(complaining) jobs with complaints
      """
  }

  private func story(_ evidence: Evidence, _ finding: Finding) -> String {
    var lines = ["FD_CHAOS_SEED=\(seed): \(evidence.plan.name): \(finding.complaints)", "\(evidence.plan)"]
    lines += ["marks: \(evidence.marks)", "at the origin:"] + evidence.events.map { "  " + $0.line.trimmedEnd }
    if let execution = evidence.execution { lines += ["execution log:"] + execution.map { "  " + $0.line.trimmedEnd } }
    for copy in evidence.copies {
      lines += ["\(copy.id) at \(copy.target):"] + copy.events.map { "  " + $0.line.trimmedEnd }
    }
    let concerned = evidence.kills.filter { evidence.plan.targets.contains($0.target) }
    if !concerned.isEmpty { lines.append("kills: \(concerned.map { "\($0.target) at \($0.time)" })") }
    return lines.joined(separator: "\n")
  }
}

extension String {
  fileprivate var trimmedEnd: String { hasSuffix("\n") ? String(dropLast()) : self }
}
