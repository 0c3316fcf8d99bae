// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser

/// `jobtap`: the verbs about the job manager's plugins.
struct JobtapCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "jobtap", abstract: "Load, list and remove plugins of the job manager.",
    subcommands: [
      JobtapLoadCommand.self, JobtapListCommand.self, JobtapRemoveCommand.self, JobtapQueryCommand.self,
    ])
}
