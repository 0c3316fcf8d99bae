// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `version`: prints the versions of this program and, where there is one, of the instance.
struct VersionCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "version", abstract: "Print versions.")

  @OptionGroup var connection: ConnectionOptions

  func execute(in context: CommandContext) async throws -> Int32 {
    context.output.print("commands:    \t\t\(FluxDelegate.version)")
    guard connection.uri != nil || context.variable("FLUX_URI") != nil else { return 0 }
    return try await context.withConnection(connection) { connection in
      let response = try await connection.rpc("attr.get", ["name": "version"])
      context.output.print("broker:  \t\t\(response["value"]?.stringValue ?? "")")
      context.output.print("FLUX_URI:\t\t\(connection.peer)")
      return 0
    }
  }
}
