// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// The options that say how eventlogs are printed.
struct EventlogOptions: ParsableArguments {
  @Option(name: [.customShort("f", allowingJoined: true), .long], help: "text or json.")
  var format = "text"

  @Option(name: [.customShort("T", allowingJoined: true), .long], help: "raw, iso, offset or human.")
  var timeFormat = "raw"

  @Flag(name: [.customShort("H"), .long], help: "Same as --format=text --time-format=human.")
  var human = false

  @Option(name: [.customShort("L", allowingJoined: true), .long], help: "always, never or auto.")
  var color: String?

  @Option(
    name: [.customShort("p", allowingJoined: true), .long],
    help: "The eventlog: eventlog, exec, output, input, or a path.")
  var path = "eventlog"

  /// The formatter that the options describe.
  func formatter(in context: CommandContext) throws -> EventlogFormatter {
    try EventlogFormatter(
      format: format, timeFormat: timeFormat, isHuman: human, hasColor: try context.usesColor(color))
  }
}
