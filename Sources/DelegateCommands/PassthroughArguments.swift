// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// A command line at the end of ours, as `submit` and `proxy` take.
enum PassthroughArguments {
  /// The command: what the parser left over, without `--`.
  ///
  /// - Throws: an error when it begins with an option, which then is one that the verb does not have.
  static func command(
    _ arguments: [String], of verb: any ParsableCommand.Type, mayBeEmpty: Bool = false
  ) throws -> [String] {
    guard let first = arguments.first else {
      if mayBeEmpty { return [] }
      throw CommandFailure("job command and arguments are missing")
    }
    if first == "--" { return Array(arguments.dropFirst()) }
    if first == "-h" || first == "--help" { throw CleanExit.helpRequest(verb) }
    guard !first.hasPrefix("-") || first == "-" else {
      throw CommandFailure(
        "unknown option '\(first)'; see flux-delegate \(verb.configuration.commandName ?? "") --help", exitCode: 2)
    }
    return arguments
  }
}
