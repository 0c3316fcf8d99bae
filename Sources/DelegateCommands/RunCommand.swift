// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `run`: submits a job and attaches to it.
struct RunCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Run a job: its output comes here, standard input goes there.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SubmissionOptions

  @Option(help: "Detach from the job at this event; default clean.")
  var waitEvent = "clean"

  @Argument(parsing: .captureForPassthrough, help: "The job's command and its arguments.")
  var command: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let command = try PassthroughArguments.command(command, of: Self.self)
    let jobspec = try SubmissionBuilder(options: options, command: command, context: context).jobspec()
    if options.dryRun {
      context.output.print(JSONStyle.python.text(jobspec))
      return 0
    }
    let submission = JobSubmission(
      jobspec: jobspec.text, urgency: try options.urgencyValue(), flags: try options.flagBits())
    return try await context.withConnection(connection) { connection in
      let id = try await submission.submit(on: connection)
      let name = context.text(of: id)
      if options.verbose > 0 { context.errorOutput.print("jobid: \(name)") }
      var attach = AttachSession.Options(name: name, waitEvent: waitEvent)
      attach.labelIO = options.labelIO
      attach.showsEvents = options.verbose > 1
      attach.showsExecEvents = options.verbose > 2
      if let input = options.input, let ranks = try? IDSet(parsing: input) { attach.inputRanks = ranks }
      return try await AttachSession(id: id, options: attach, connection: connection, context: context).run()
    }
  }
}
