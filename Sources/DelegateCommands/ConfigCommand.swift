// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// `config`: the verbs about an instance's configuration.
struct ConfigCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "config", abstract: "Look at an instance's configuration, or replace it.",
    subcommands: [ConfigGetCommand.self, ConfigLoadCommand.self])
}
