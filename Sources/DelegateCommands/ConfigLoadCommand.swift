// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `config load`: replaces the configuration by an object of JSON.
struct ConfigLoadCommand: ContextCommand {
  static let verb = "config load"
  static let configuration = CommandConfiguration(
    commandName: "load", abstract: "Replace the configuration by JSON from a file or standard input.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "A file of JSON; - is standard input.")
  var file = "-"

  func execute(in context: CommandContext) async throws -> Int32 {
    let label = file == "-" ? "standard input" : file
    let bytes =
      file == "-" ? try FileContents.read(context.input, label: label) : try FileContents.read(file, label: label)
    let config: JSON
    do { config = try JSON(parsing: bytes) } catch {
      throw CommandFailure("\(label): \(error); the configuration is read as JSON, TOML is not")
    }
    guard config.objectValue != nil else { throw CommandFailure("\(label): the configuration is not a JSON object") }
    return try await context.withConnection(connection) { connection in
      try await connection.rpc("config.load", config)
      return 0
    }
  }
}
