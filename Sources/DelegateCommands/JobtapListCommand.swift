// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `jobtap list`: lists the job manager's plugins.
struct JobtapListCommand: ContextCommand {
  static let verb = "jobtap list"
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List plugins.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: .shortAndLong, help: "Also those that are built in.")
  var all = false

  func execute(in context: CommandContext) async throws -> Int32 {
    try await context.withConnection(connection) { connection in
      let response = try await connection.rpc("job-manager.jobtap", ["query_only": true])
      for name in (response["plugins"]?.arrayValue ?? []).compactMap(\.stringValue) where all || !name.hasPrefix(".") {
        context.output.print(name)
      }
      return 0
    }
  }
}
