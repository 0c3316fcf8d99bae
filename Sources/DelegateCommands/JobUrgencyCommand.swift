// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `job urgency`: changes the urgency of a job that waits.
struct JobUrgencyCommand: ContextCommand {
  static let verb = "job urgency"
  static let configuration = CommandConfiguration(commandName: "urgency", abstract: "Change a job's urgency.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: .shortAndLong, help: "Print the old urgency.")
  var verbose = false

  @Argument(help: "The job's id.")
  var id: String

  @Argument(help: "0 to 31, or hold, default, expedite.")
  var urgency: String

  func execute(in context: CommandContext) async throws -> Int32 {
    let job = try JobCommand.parseID(id)
    let value = try value()
    return try await context.withConnection(connection) { connection in
      let response: JSON
      do {
        response = try await connection.rpc("job-manager.urgency", ["id": job.json, "urgency": .int(value)])
      } catch let error as RPCError { throw CommandFailure("\(id): \(error)") }
      if verbose, let old = response["old_urgency"]?.intValue {
        context.errorOutput.print("old urgency: \(old == 0 ? "job held" : old == 31 ? "job expedited" : String(old))")
      }
      return 0
    }
  }

  private func value() throws -> Int64 {
    switch urgency.lowercased() {
    case "hold": return 0
    case "default": return 16
    case "expedite": return 31
    default:
      guard let value = Int64(urgency), value >= 0 else {
        throw CommandFailure("error parsing urgency: \"\(urgency)\"")
      }
      return value
    }
  }
}
