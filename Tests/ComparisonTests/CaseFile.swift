// SPDX-License-Identifier: LGPL-3.0-only

import Foundation

/// A file of cases, which are run in its order against one pair of instances.
///
/// A case begins with `== NAME`. A line `!! REASON` after that says that its answers differ, and why. The rest is the script. The
/// first line of the file is its heading.
struct CaseFile: Sendable {
  var name: String
  var heading: String
  var cases: [ComparisonCase]

  init(name: String, parsing text: String) {
    self.name = name
    heading = ""
    cases = []
    for line in text.split(separator: "\n", omittingEmptySubsequences: true) {
      if line.hasPrefix("== ") {
        cases.append(ComparisonCase(name: String(line.dropFirst(3)), script: ""))
      } else if cases.isEmpty {
        if heading.isEmpty { heading = String(line.drop { $0 == "#" || $0 == " " }) }
      } else if line.hasPrefix("!! ") {
        cases[cases.count - 1].reason = String(line.dropFirst(3))
      } else {
        let before = cases[cases.count - 1].script
        cases[cases.count - 1].script = before.isEmpty ? String(line) : "\(before)\n\(line)"
      }
    }
  }

  /// The repository's files, in the order of the report.
  static func all() throws -> [CaseFile] {
    let directory = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Cases")
    return try ["submit", "run", "shell", "list", "job", "control", "instance"].map { name in
      CaseFile(name: name, parsing: try String(contentsOf: directory.appending(path: "\(name).txt"), encoding: .utf8))
    }
  }
}
