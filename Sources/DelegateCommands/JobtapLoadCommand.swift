// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire
import Glibc

/// `jobtap load`: loads a plugin into the job manager.
struct JobtapLoadCommand: ContextCommand {
  static let verb = "jobtap load"
  static let configuration = CommandConfiguration(commandName: "load", abstract: "Load a plugin.")

  @OptionGroup var connection: ConnectionOptions

  @Option(
    name: [.customShort("r", allowingJoined: true), .long],
    help: "First remove plugins of this name; a pattern, or all.")
  var remove: String?

  @Argument(help: "The plugin: a path, or a name that the job manager looks for.")
  var plugin: String

  @Argument(help: "The plugin's configuration: KEY=VALUE; the value is JSON where it can be.")
  var configurationValues: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    var request: JSON = ["load": .string(Self.absolute(plugin, context))]
    if !configurationValues.isEmpty { request["conf"] = try conf() }
    if let remove { request["remove"] = .string(remove) }
    let payload = request
    return try await context.withConnection(connection) { connection in
      do { try await connection.rpc("job-manager.jobtap", payload) } catch let error as RPCError
        where error.errnum == Errnum.noEntry.rawValue && error.text == nil
      {
        throw CommandFailure("\(plugin) not found")
      }
      return 0
    }
  }

  /// A path as the job manager, which has another working directory, can find it. A bare name is its to look for.
  static func absolute(_ plugin: String, _ context: CommandContext) -> String {
    guard plugin.contains("/"), !plugin.hasPrefix("/") else { return plugin }
    var relative = plugin[...]
    while relative.hasPrefix("./") { relative = relative.dropFirst("./".count) }
    let path = context.workingDirectory + "/" + relative
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
  }

  private func conf() throws -> JSON {
    var result: JSON = [:]
    for text in configurationValues {
      guard text.contains("=") else { throw CommandFailure("'\(text)': write KEY=VALUE") }
      let (key, value) = try KeyValue.parse(text, label: "conf")
      result.set(path: key, to: value)
    }
    return result
  }
}
