// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job info`: prints what an instance keeps about a job.
struct JobInfoCommand: ContextCommand {
  static let verb = "job info"
  static let configuration = CommandConfiguration(
    commandName: "info", abstract: "Print a key of a job's record.",
    discussion: "Keys: J, R, eventlog, jobspec, guest.exec.eventlog, guest.input, guest.output.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: .shortAndLong, help: "For jobspec: what was submitted, with its environment.")
  var original = false

  @Flag(name: .shortAndLong, help: "For jobspec and R: without later updates.")
  var base = false

  @Argument(help: "The job's id.")
  var id: String

  @Argument(help: "The key.")
  var key: String

  func execute(in context: CommandContext) async throws -> Int32 {
    let job = try JobCommand.parseID(id)
    let isOriginal = original && key == "jobspec"
    let isCurrent = !base && !isOriginal && (key == "jobspec" || key == "R")
    let wanted = isOriginal ? "J" : key
    return try await context.withConnection(connection) { connection in
      let response = try await connection.rpc(
        "job-info.lookup", ["id": job.json, "keys": [.string(wanted)], "flags": isCurrent ? 2 : 0])
      guard let value = response[wanted]?.stringValue else { throw CommandFailure("\(key): key not found") }
      context.output.print(isOriginal ? try SignedJobspec(parsing: value).jobspec : value)
      return 0
    }
  }
}
