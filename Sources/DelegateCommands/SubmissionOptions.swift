// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// The options that `submit` and `run` share, with Flux's names.
struct SubmissionOptions: ParsableArguments {
  @Option(
    name: [.customShort("N", allowingJoined: true), .customLong("nodes")], help: "Number of nodes to allocate.")
  var nodes: String?

  @Option(
    name: [.customShort("n", allowingJoined: true), .customLong("ntasks")], help: "Number of tasks to start.")
  var tasks: String?

  @Option(
    name: [.customShort("c", allowingJoined: true), .customLong("cores-per-task")], help: "Cores for each task.")
  var coresPerTask: String?

  @Option(
    name: [.customShort("g", allowingJoined: true), .customLong("gpus-per-task")], help: "GPUs for each task.")
  var gpusPerTask: String?

  @Flag(name: [.customShort("x"), .customLong("exclusive")], help: "With -N, allocate whole nodes.")
  var exclusive = false

  @Option(
    name: [.customShort("t", allowingJoined: true), .customLong("time-limit")],
    help: "Time limit in minutes, or with a unit: 30s, 2d, 1.5h.")
  var timeLimit: String?

  @Option(help: "Urgency, 0-31, or hold, default, expedite.")
  var urgency = "16"

  @Option(help: "The job's name.")
  var jobName: String?

  @Option(name: [.customShort("q", allowingJoined: true), .customLong("queue")], help: "The queue.")
  var queue: String?

  @Option(name: [.customShort("B", allowingJoined: true), .customLong("bank")], help: "The bank.")
  var bank: String?

  @Option(
    parsing: .unconditionalSingleValue,
    help: "NAME=VALUE sets a variable of the job, NAME imports it, -PATTERN removes, ^FILE reads rules. Repeatable.")
  var env: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: "Remove variables that match the pattern from the job's environment, before --env is applied. Repeatable.")
  var envRemove: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: "NAME or NAME=VALUE: propagate a resource limit; -PATTERN: do not. Repeatable.")
  var rlimit: [String] = []

  @Option(help: "Working directory of the job.")
  var cwd: String?

  @Option(help: "File for the job's standard input.")
  var input: String?

  @Option(help: "File for the job's standard output.")
  var output: String?

  @Option(help: "File for the job's standard error.")
  var error: String?

  @Flag(name: [.customShort("u"), .customLong("unbuffered")], help: "Do not buffer input and output.")
  var unbuffered = false

  @Flag(name: [.customShort("l"), .customLong("label-io")], help: "Label lines of output with the task's rank.")
  var labelIO = false

  @Option(
    name: [.customShort("S", allowingJoined: true), .customLong("setattr")], parsing: .unconditionalSingleValue,
    help: "Set a job attribute: KEY=VALUE, KEY for 1, ^KEY=FILE for a file of JSON. Repeatable.")
  var setattr: [String] = []

  @Option(
    name: [.customShort("o", allowingJoined: true), .customLong("setopt")], parsing: .unconditionalSingleValue,
    help: "Set a shell option: KEY=VALUE, or KEY for 1. Repeatable.")
  var setopt: [String] = []

  @Option(help: "A dependency: SCHEME:VALUE[?KEY=VALUE]. Repeatable.")
  var dependency: [String] = []

  @Option(parsing: .unconditionalSingleValue, help: "Constraint on the resources. Repeatable.")
  var requires: [String] = []

  @Option(help: "Comma separated flags: debug, waitable, novalidate. Repeatable.")
  var flags: [String] = []

  @Flag(name: [.customLong("dry-run"), .customLong("dry")], help: "Print the jobspec instead of submitting it.")
  var dryRun = false

  @Flag(name: .shortAndLong, help: "More messages on standard error; repeatable.")
  var verbose: Int
}

extension SubmissionOptions {
  /// The urgency as a number.
  func urgencyValue() throws -> Int {
    switch urgency {
    case "hold": return 0
    case "default": return 16
    case "expedite": return 31
    default:
      guard let value = Int(urgency) else {
        throw CommandFailure("--urgency: '\(urgency)' is not a number; write 0-31, hold, default or expedite")
      }
      return value
    }
  }

  /// The flags as Flux's bits.
  func flagBits() throws -> Int {
    var bits = 0
    for flag in flags.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) }) {
      switch flag {
      case "debug": bits |= 2
      case "waitable": bits |= 4
      case "novalidate": bits |= 8
      default: throw CommandFailure("--flags: Unknown flag \(flag); the flags are debug, waitable and novalidate")
      }
    }
    return bits
  }

  /// A copy with `{cc}` replaced in every option whose value it may stand in.
  func substituting(_ copy: Int) throws -> SubmissionOptions {
    var result = self
    func replaced(_ text: String) throws -> String { try SubmissionOptions.substitute(copy, in: text) }
    result.nodes = try nodes.map(replaced)
    result.tasks = try tasks.map(replaced)
    result.coresPerTask = try coresPerTask.map(replaced)
    result.gpusPerTask = try gpusPerTask.map(replaced)
    result.timeLimit = try timeLimit.map(replaced)
    result.urgency = try replaced(urgency)
    result.jobName = try jobName.map(replaced)
    result.queue = try queue.map(replaced)
    result.bank = try bank.map(replaced)
    result.env = try env.map(replaced)
    result.envRemove = try envRemove.map(replaced)
    result.cwd = try cwd.map(replaced)
    result.input = try input.map(replaced)
    result.output = try output.map(replaced)
    result.error = try error.map(replaced)
    result.setattr = try setattr.map(replaced)
    result.setopt = try setopt.map(replaced)
    result.dependency = try dependency.map(replaced)
    result.requires = try requires.map(replaced)
    return result
  }

  /// Replaces `{cc}`; `{{…}}` stays, for it is a template of the job shell's. Another name is a mistake.
  static func substitute(_ copy: Int, in text: String) throws -> String {
    guard text.contains("{") else { return text }
    var result = ""
    var rest = text[...]
    while let brace = rest.firstIndex(of: "{") {
      result += rest[..<brace]
      rest = rest[brace...]
      if rest.hasPrefix("{{"), let end = firstRange(of: "}}", in: rest) {
        result += rest[..<end]
        rest = rest[end...]
      } else if rest.hasPrefix("{cc}") {
        result += String(copy)
        rest = rest.dropFirst("{cc}".count)
      } else if rest.first == "{", let end = rest.firstIndex(of: "}"), rest[..<end].contains("\"") {
        // A JSON value, not a replacement.
        result += rest[...end]
        rest = rest[rest.index(after: end)...]
      } else {
        throw CommandFailure("Invalid replacement string in '\(text)': only {cc} is replaced")
      }
    }
    return result + rest
  }

  /// Where the first `pattern` ends.
  private static func firstRange(of pattern: String, in text: Substring) -> Substring.Index? {
    var rest = text
    while !rest.isEmpty {
      if rest.hasPrefix(pattern) { return rest.index(rest.startIndex, offsetBy: pattern.count) }
      rest = rest.dropFirst()
    }
    return nil
  }
}
