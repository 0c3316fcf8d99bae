// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job wait-event`: waits for an event of a job and prints it.
struct JobWaitEventCommand: ContextCommand {
  static let verb = "job wait-event"
  static let configuration = CommandConfiguration(commandName: "wait-event", abstract: "Wait for an event of a job.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: EventlogOptions

  @Option(name: [.customShort("t", allowingJoined: true), .long], help: "Give up after this duration.")
  var timeout: String?

  @Option(
    name: [.customShort("m", allowingJoined: true), .long], help: "KEY=VALUE that the event's context must have.")
  var matchContext: String?

  @Option(name: [.customShort("c", allowingJoined: true), .long], help: "How often the event must come.")
  var count = 1

  @Flag(name: .shortAndLong, help: "Do not print the event.")
  var quiet = false

  @Flag(name: .shortAndLong, help: "Print all events before it too.")
  var verbose = false

  @Flag(name: [.customShort("W"), .long], help: "Wait for an eventlog that is not there yet.")
  var waitcreate = false

  @Argument(help: "The job's id.")
  var id: String

  @Argument(help: "The event's name.")
  var event: String

  func execute(in context: CommandContext) async throws -> Int32 {
    var wait = EventWait(
      job: try JobCommand.parseID(id), name: id, path: EventlogPath(options.path), event: event,
      formatter: try options.formatter(in: context))
    guard count > 0 else { throw CommandFailure("count must be > 0") }
    wait.count = count
    wait.waitsForCreation = waitcreate
    wait.printsAll = verbose
    wait.isQuiet = quiet
    if let timeout {
      let seconds = try StandardDuration(parsing: timeout).seconds
      if seconds.isFinite { wait.timeout = .seconds(seconds) }
    }
    if let matchContext {
      guard let equals = matchContext.firstIndex(of: "=") else {
        throw CommandFailure("must specify a context test as key=value")
      }
      wait.match = (String(matchContext[..<equals]), String(matchContext[matchContext.index(after: equals)...]))
    }
    let final = wait
    return try await context.withConnection(connection) { try await final.run(on: $0, context) }
  }
}
