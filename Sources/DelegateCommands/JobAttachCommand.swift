// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job attach`: shows a job's output, forwards standard input and signals, and exits with the job's exit code.
struct JobAttachCommand: ContextCommand {
  static let verb = "job attach"
  static let configuration = CommandConfiguration(
    commandName: "attach", abstract: "Attach to a job's input and output.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: [.customShort("E"), .long], help: "Show the job's events on standard error.")
  var showEvents = false

  @Flag(name: [.customShort("X"), .long], help: "Show the execution events on standard error.")
  var showExec = false

  @Flag(help: "Show a status line while the job waits.")
  var showStatus = false

  @Option(name: [.customShort("w", allowingJoined: true), .long], help: "Detach from the eventlog at this event.")
  var waitEvent = "clean"

  @Flag(name: [.customShort("l"), .customLong("label-io")], help: "Label output with the task's rank.")
  var labelIO = false

  @Flag(name: .shortAndLong, help: "More detail in the shell's messages.")
  var verbose = false

  @Flag(name: .shortAndLong, help: "No warnings.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Do not forward standard input and signals.")
  var readOnly = false

  @Flag(name: .shortAndLong, help: "For scripts: standard input is always forwarded as it comes.")
  var unbuffered = false

  @Option(name: [.customShort("i", allowingJoined: true), .long], help: "The tasks that get standard input.")
  var stdinRanks: String?

  @Option(help: "Show only so many of the last lines of the output so far.")
  var tail: Int?

  @Argument(help: "The job's id.")
  var id: String

  func execute(in context: CommandContext) async throws -> Int32 {
    let job = try JobCommand.parseID(id)
    var options = AttachSession.Options(name: id, waitEvent: waitEvent)
    options.showsEvents = showEvents
    options.showsExecEvents = showExec
    options.showsStatus = showStatus
    options.labelIO = labelIO
    options.isVerbose = verbose
    options.isQuiet = quiet
    options.isReadOnly = readOnly
    options.inputRanks = try inputRanks()
    if let tail {
      guard tail >= 0 else { throw CommandFailure("invalid tail argument") }
      options.tail = tail
    }
    let attach = options
    return try await context.withConnection(connection) { connection in
      try await AttachSession(id: job, options: attach, connection: connection, context: context).run()
    }
  }

  private func inputRanks() throws -> IDSet? {
    guard let stdinRanks, stdinRanks != "all" else { return nil }
    guard !readOnly else { throw CommandFailure("Do not use --stdin-ranks with --read-only") }
    guard let ranks = try? IDSet(parsing: stdinRanks) else {
      throw CommandFailure("Invalid value '\(stdinRanks)' for --stdin-ranks")
    }
    return ranks
  }
}
