// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `jobtap query`: prints what a plugin of the job manager tells about itself.
struct JobtapQueryCommand: ContextCommand {
  static let verb = "jobtap query"
  static let configuration = CommandConfiguration(commandName: "query", abstract: "Query a plugin.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "The plugin's name.")
  var plugin: String

  func execute(in context: CommandContext) async throws -> Int32 {
    try await context.withConnection(connection) { connection in
      let response = try await connection.respond("job-manager.jobtap-query", ["name": .string(plugin)])
      context.output.print(response.text ?? "")
      return 0
    }
  }
}
