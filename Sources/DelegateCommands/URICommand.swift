// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `uri`: prints the URI of an instance.
struct URICommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "uri", abstract: "Resolve a target to the URI of its instance.",
    discussion:
      "A target is a URI, the id of a job that is an instance, or pid:N. Without one: this instance's own URI.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(help: "Print a local URI as a remote one, with this host's name.")
  var remote = false

  @Flag(help: "Print a remote URI as a local one.")
  var local = false

  @Argument(help: "The target.")
  var target: String?

  func execute(in context: CommandContext) async throws -> Int32 {
    let resolver = URIResolver(options: connection, context: context)
    let uri = try await resolver.resolve(target ?? "")
    if remote {
      context.output.print(URIResolver.remote(uri).description)
    } else if local || context.environment["FLUX_URI_RESOLVE_LOCAL"] != nil {
      context.output.print(URIResolver.local(uri).description)
    } else {
      context.output.print(uri.description)
    }
    return 0
  }
}
