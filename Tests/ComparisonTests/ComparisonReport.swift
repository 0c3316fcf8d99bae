// SPDX-License-Identifier: LGPL-3.0-only

import Foundation

/// `docs/comparison.md`: what was compared, and how it came out.
struct ComparisonReport {
  var files: [(file: CaseFile, findings: [Finding])]

  static let path = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../../docs/comparison.md").standardized.path

  /// Nothing in it depends on the machine or the moment: it changes only when a result does.
  var markdown: String {
    let all = files.flatMap(\.findings)
    let same = all.count { $0.isSame }
    var text = """
      # Flux's own commands against the embedded instance

      Made by ComparisonTests (see [CONTRIBUTING.md](../CONTRIBUTING.md)); do not edit it. Each command line was run with the commands of
      Flux 0.88, by `FLUX_URI`, against `flux start -s2` and against `flux-delegate start -N2 -c2`: the same two nodes of two cores, the
      same configuration, flux-core's own scheduler. Exit code, output and errors were compared, but for ids, times, durations, process ids,
      paths and the host names in messages of the job shell.

      \(all.count) cases: \(same) are the same, \(all.count - same) differ.

      """
    for (file, findings) in files {
      text += "\n## \(file.heading)\n\n| case | command line | result |\n|---|---|---|\n"
      for finding in findings {
        let result = finding.isSame ? "same" : "**differs**: \(Self.cell(finding.given.reason ?? "nobody knows why"))"
        let lines = finding.given.script.split(separator: "\n").map { "`\(Self.cell(String($0)))`" }
        text += "| \(Self.cell(finding.given.name)) | \(lines.joined(separator: "<br>")) | \(result) |\n"
      }
    }
    return text
  }

  private static func cell(_ text: String) -> String { text.replacing("|", with: "\\|") }
}
