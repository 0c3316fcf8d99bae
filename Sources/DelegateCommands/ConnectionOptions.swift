// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// The option that names the instance.
struct ConnectionOptions: ParsableArguments {
  @Option(help: "The instance to speak to: local:///path/to/socket or ssh://host/path. Default: FLUX_URI.")
  var uri: String?

  /// The instance's URI.
  func resolved(in context: CommandContext) throws -> FluxURI {
    guard let text = uri ?? context.variable("FLUX_URI") else {
      throw CommandFailure(
        "no Flux instance: FLUX_URI is not set. Run this inside an instance (flux start, flux-delegate start, "
          + "flux alloc), set FLUX_URI, or give --uri; write local:///path/to/socket or ssh://host/path/to/socket")
    }
    return try FluxURI(parsing: text)
  }
}
