// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `getattr`: prints an attribute of the instance's broker.
struct GetattrCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "getattr", abstract: "Print a broker attribute.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "The attribute's name.")
  var name: String

  func execute(in context: CommandContext) async throws -> Int32 {
    try await context.withConnection(connection) { connection in
      do {
        let response = try await connection.rpc("attr.get", ["name": .string(name)])
        context.output.print(response["value"]?.stringValue ?? "")
      } catch let error as RPCError { throw CommandFailure("\(name): \(error)") }
      return 0
    }
  }
}
