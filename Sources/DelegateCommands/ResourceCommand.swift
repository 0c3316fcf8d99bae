// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// `resource`: the verbs about an instance's resources.
struct ResourceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "resource", abstract: "Look at an instance's resources.", subcommands: [ResourceListCommand.self])
}
