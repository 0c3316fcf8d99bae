// SPDX-License-Identifier: LGPL-3.0-only

/// A case with both answers.
struct Finding: Sendable {
  var given: ComparisonCase
  var flux: Answer
  var embedded: Answer

  var isSame: Bool { flux == embedded }

  /// What is wrong with it; nil when it is as the table of cases says.
  var complaint: String? {
    if flux.code == Answer.tookTooLong { return "\(given.name): took too long with Flux\n\(given.script)" }
    switch (isSame, given.reason) {
    case (true, nil), (false, .some): return nil
    case (true, .some): return "\(given.name): is the same by now, take its reason away\n\(given.script)"
    case (false, nil): return "\(given.name): differs\n  $ \(given.script)\n\(difference)"
    }
  }

  /// The lines that only one of the two has said: `-` Flux, `+` the embedded instance.
  private var difference: String {
    var lines: [String] = []
    if flux.code != embedded.code { lines.append("  exit code -\(flux.code) +\(embedded.code)") }
    for (name, theirs, ours) in [("out", flux.out, embedded.out), ("err", flux.err, embedded.err)] {
      let before = theirs.split(separator: "\n", omittingEmptySubsequences: false)
      let after = ours.split(separator: "\n", omittingEmptySubsequences: false)
      for change in after.difference(from: before) {
        switch change {
        case .remove(_, let line, _): lines.append("  \(name) -\(line)")
        case .insert(_, let line, _): lines.append("  \(name) +\(line)")
        }
      }
    }
    return lines.joined(separator: "\n")
  }
}
