// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// The log of a job's standard input, `guest.input` (RFC 24), as Flux's shell keeps it. Pure.
///
/// Flux's begins with a header for every job. Here that is written only when something comes after it; until then whoever looks is shown what
/// it would be, so that a job without input costs nothing.
struct InputLog {
  /// The most that is kept of one job, in bytes with all that is around the input; what comes after goes to the tasks alone.
  static let maximum = 64 << 20
  /// How much input a job may have, in bytes, where its shell option `input.limit` says nothing, and where it does: Flux's numbers.
  static let defaultLimit = 10 << 20
  static let maximumLimit = 32 << 20

  /// How much input the job may have, in bytes; with more it ends.
  let limit: Int
  private var taken = 0
  private var kept = 0

  /// Reads the shell option `input`.
  init(_ option: JSON?) throws(ShellOptions.Failure) {
    if let type = option?["stdin"]?["type"]?.stringValue, type != "service", type != "file" {
      throw ShellOptions.Failure(component: "input.service", text: "input.stdin.type=\(type) invalid")
    }
    limit = try Self.limit(option?["limit"])
  }

  private static func limit(_ value: JSON?) throws(ShellOptions.Failure) -> Int {
    guard let value else { return defaultLimit }
    let size: Int?
    switch value {
    case .int(let number): size = Int(clamping: number)
    case .string(let text): size = Self.size(text)
    default:
      throw failure(ShellOptions.Line(3, "input.util", "Unable to convert input.limit to string"))
    }
    guard let size, (1...maximumLimit).contains(size) else {
      throw failure(ShellOptions.Line(5, "input.util", "Invalid KVS input.limit=\(value.stringValue ?? value.text)"))
    }
    return size
  }

  private static func failure(_ line: ShellOptions.Line) -> ShellOptions.Failure {
    ShellOptions.Failure(
      component: "input.util", text: "failed to initialize input ctx", plugin: "input.service", earlier: [line])
  }

  /// A number with one of the letters that Flux has for 1024 and its powers.
  private static func size(_ text: String) -> Int? {
    let scales: [Character: Double] = ["k": 0x1p10, "K": 0x1p10, "M": 0x1p20, "G": 0x1p30]
    let scale = text.last.flatMap { scales[$0] }
    guard let number = Double(scale == nil ? text : String(text.dropLast())), number >= 0 else { return nil }
    return Int(exactly: min(number * (scale ?? 1), 1e15).rounded(.down))
  }

  /// A size as Flux writes it: the greatest unit, and a fraction of it.
  private static func words(_ size: Int) -> String {
    var value = Double(size)
    var units = ["", "K", "M"][...]
    while value >= 1024, units.count > 1 {
      value /= 1024
      units.removeFirst()
    }
    let digits = String((value * 1e5).rounded() / 1e5)
    return (digits.hasSuffix(".0") ? String(digits.dropLast(2)) : digits) + (units.first ?? "")
  }

  // MARK: Entries

  /// What becomes of input.
  enum Verdict: Hashable {
    /// It goes to the tasks, and into the log.
    case keep
    /// It goes to the tasks alone; whether this is the first time.
    case pass(isFirst: Bool)
    /// It is too much: the job ends, and says this.
    case refuse(String)
  }

  /// Counts input.
  ///
  /// - Parameters:
  ///   - bytes: how many there are.
  ///   - size: how many bytes its entry takes in the log.
  mutating func add(bytes: Int, size: Int) -> Verdict {
    taken += bytes
    guard taken <= limit else {
      return .refuse(
        "stdin exceeds \(Self.words(limit)) limit. Try file input (flux submit --input=FILE) or redirect input to your "
          + "command to avoid the KVS for large amounts of input")
    }
    let before = kept
    kept += size
    return kept <= Self.maximum ? .keep : .pass(isFirst: before <= Self.maximum)
  }

  /// Among how many entries of an execution log the one is that the header comes from.
  static let headerEntries = 3

  /// The header of a job's log, from an entry of its execution log; nil when that is not the one before which Flux writes it.
  static func header(from line: String) -> String? {
    guard line.contains(#""name":"shell.init""#), let entry = try? EventlogEntry(parsing: line),
      entry.name == "shell.init"
    else { return nil }
    return EventlogEntry(timestamp: entry.timestamp, name: "header", context: header).line
  }

  private static let header: JSONObject = [
    "version": 1, "encoding": ["stdin": "UTF-8"], "count": ["stdin": 1], "options": [:],
  ]
}

extension Job {
  /// The log of its standard input, which it has once its shell is there.
  var inputLog: [String] {
    if !input.isEmpty { return input }
    guard isExecuted else { return [] }
    return execLog.prefix(InputLog.headerEntries).compactMap(InputLog.header(from:))
  }
}
