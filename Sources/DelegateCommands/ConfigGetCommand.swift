// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `config get`: prints the configuration, or one key of it.
struct ConfigGetCommand: ContextCommand {
  static let verb = "config get"
  static let configuration = CommandConfiguration(
    commandName: "get", abstract: "Print the configuration or a key of it.")

  @OptionGroup var connection: ConnectionOptions

  @Option(name: [.customShort("d", allowingJoined: true), .long], help: "What to print when the key is not set.")
  var `default`: String?

  @Flag(name: .shortAndLong, help: "Say nothing when the key is not set; the exit code is 1.")
  var quiet = false

  @Argument(help: "The key, such as queues.batch.")
  var key: String?

  func execute(in context: CommandContext) async throws -> Int32 {
    try await context.withConnection(connection) { connection in
      let config = try await connection.rpc("config.get")
      guard let value = key.map({ config.value(at: $0) }) ?? config else {
        if let text = `default` {
          context.output.print(text)
          return 0
        }
        throw CommandFailure(quiet ? "" : "\(key ?? "") is not set")
      }
      context.output.print(value.stringValue ?? JSONStyle.jansson.text(value))
      return 0
    }
  }
}
