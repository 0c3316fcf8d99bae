// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job kill`: sends a signal to running jobs.
struct JobKillCommand: ContextCommand {
  static let verb = "job kill"
  static let configuration = CommandConfiguration(commandName: "kill", abstract: "Send a signal to running jobs.")

  @OptionGroup var connection: ConnectionOptions

  @Option(name: [.customShort("s", allowingJoined: true), .long], help: "The signal: a number, TERM or SIGTERM.")
  var signal = "SIGTERM"

  @Argument(help: "Job ids.")
  var ids: [String]

  func execute(in context: CommandContext) async throws -> Int32 {
    guard let number = SignalName.number(of: signal) else { throw CommandFailure("Invalid signal \(signal)") }
    return try await context.withConnection(connection) { connection in
      try await JobRequests.each(ids, "kill", context) { id in
        try await connection.rpc("job-manager.kill", ["id": id.json, "signum": .int(Int64(number))])
      }
    }
  }
}
