// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `jobtap remove`: removes plugins from the job manager.
struct JobtapRemoveCommand: ContextCommand {
  static let verb = "jobtap remove"
  static let configuration = CommandConfiguration(commandName: "remove", abstract: "Remove a plugin.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "The plugin's name; a pattern, or all.")
  var plugin: String

  func execute(in context: CommandContext) async throws -> Int32 {
    try await context.withConnection(connection) { connection in
      do { try await connection.rpc("job-manager.jobtap", ["remove": .string(plugin)]) } catch let error as RPCError
        where error.errnum == Errnum.noEntry.rawValue
      {
        throw CommandFailure("\(plugin) not found")
      }
      return 0
    }
  }
}
