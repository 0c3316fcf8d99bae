// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `job`: the verbs about one job.
struct JobCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "job", abstract: "Look at a job, attach to it, change it.",
    subcommands: [
      JobExplainCommand.self, JobAttachCommand.self, JobEventlogCommand.self, JobIDCommand.self, JobInfoCommand.self,
      JobKillCommand.self,
      JobLastCommand.self, JobRaiseCommand.self, JobUrgencyCommand.self, JobWaitEventCommand.self,
    ], defaultSubcommand: JobExplainCommand.self)

  /// A job id as the user wrote it.
  ///
  /// - Throws: an error in Flux's words.
  static func parseID(_ text: String) throws -> JobID {
    do { return try JobID(parsing: text) } catch {
      throw CommandFailure("error parsing jobid: \"\(text)\": \(error.message)")
    }
  }
}
