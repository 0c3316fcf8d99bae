// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job last`: prints the ids of the jobs that were submitted last.
struct JobLastCommand: ContextCommand {
  static let verb = "job last"
  static let configuration = CommandConfiguration(
    commandName: "last", abstract: "Print the id of the job submitted last, or of the last N.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "How many, or a slice such as [1:3].")
  var slice = "[:1]"

  func execute(in context: CommandContext) async throws -> Int32 {
    var text = slice
    if !slice.contains("[") {
      guard let count = Int32(slice) else { throw ValidationError("'\(slice)' is neither a number nor a slice") }
      text = "[:\(count)]"
    }
    let range = text
    return try await context.withConnection(connection) { connection in
      let response = try await connection.rpc("job-manager.history.get", ["slice": .string(range)])
      let jobs = response["jobs"]?.arrayValue ?? []
      guard !jobs.isEmpty else { throw CommandFailure("job history is empty") }
      for id in jobs.compactMap({ JobID($0) }) { context.output.print(context.text(of: id)) }
      return 0
    }
  }
}
