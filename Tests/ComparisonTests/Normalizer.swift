// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Replaces what has to differ between two instances, and nothing else. Pure.
struct Normalizer {
  /// Paths of this side, and what stands for them; those that are in others come after those.
  var paths: [(String, String)]
  /// The ids that were seen, in the order of their first appearance: the same job keeps the same name in a case.
  private var ids: [UInt64: Int] = [:]

  init(paths: [(String, String)]) { self.paths = paths }

  mutating func callAsFunction(_ text: String) -> String {
    var text = text
    // Each side has its own run directory, socket and working directory.
    for (path, name) in paths where !path.isEmpty { text = text.replacing(path, with: name) }
    text = Self.withoutTimes(text)
    text = Self.withoutDurations(text)
    text = withoutIDs(text)
    return Self.withoutProcesses(text)
  }

  /// Moments: seconds with a fraction since 1970, RFC 3339, and what `flux jobs` and `flux dmesg -H` show.
  private static func withoutTimes(_ text: String) -> String {
    text.replacing(/\b1[0-9]{9}\.[0-9]+/, with: "<time>")
      .replacing(/[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?Z?/, with: "<time>")
      .replacing(/\b[A-Z][a-z]{2} ?[0-9]{1,2} [0-9]{2}:[0-9]{2}(?::[0-9.]+)?/, with: "<time>")
  }

  /// Job ids in all their encodings, with the blanks that fill a column up to them.
  private mutating func withoutIDs(_ text: String) -> String {
    let id =
      /(?: {2,})?(?:(?:ƒ|\\u0192)[1-9A-HJ-NP-Za-km-z]+|\b(?:job\.)?[0-9a-f]{4}(?:\.[0-9a-f]{4}){3}\b|\b0x[0-9a-f]+\b|\b[a-z]+-[a-z]+-[a-z]+--[a-z]+-[a-z]+-[a-z]+\b|\bf[1-9A-HJ-NP-Za-km-z]{4,}\b|\b[0-9]{9,19}\b(?!\.[0-9]))/
    var result = ""
    var rest = text[...]
    while let match = rest.firstMatch(of: id) {
      result += rest[..<match.range.lowerBound]
      result += name(String(match.output)) ?? String(match.output)
      rest = rest[match.range.upperBound...]
    }
    return result + rest
  }

  private mutating func name(_ text: String) -> String? {
    let word = text.drop { $0 == " " }
    // As JSON in ASCII has it.
    guard let id = try? JobID(parsing: String(word).replacing(#"\u0192"#, with: "ƒ")), Self.isPlausible(id) else {
      return nil
    }
    let number = ids[id.rawValue] ?? ids.count + 1
    ids[id.rawValue] = number
    return (word.count < text.count ? " " : "") + "<id\(number)>"
  }

  /// An id that an instance of one process may have given within a day; other words and numbers look like ids as well.
  private static func isPlausible(_ id: JobID) -> Bool {
    let milliseconds = id.rawValue >> 24
    return milliseconds > 0 && milliseconds < 86_400_000 && (id.rawValue >> 10) & 0x3fff == 0
  }

  /// How long something took, with the blanks that fill a column up to it.
  private static func withoutDurations(_ text: String) -> String {
    text.replacing(/(?: {2,})?\b[0-9]+\.[0-9]+(?:e-[0-9]+)?s\b/, with: "<duration>")
      .replacing(/"runtime": ?[0-9.e-]+/, with: "\"runtime\": <duration>")
  }

  /// Process ids; and the host in a shell's messages: a Flux of several brokers on one machine has only the machine's.
  private static func withoutProcesses(_ text: String) -> String {
    text.replacing(/"pid": ?[0-9]+/, with: "\"pid\":<pid>").replacing(/\bpid=[0-9]+/, with: "pid=<pid>")
      .replacing(/\bhost [A-Za-z][-A-Za-z0-9.]*/, with: "host <host>")
  }
}
