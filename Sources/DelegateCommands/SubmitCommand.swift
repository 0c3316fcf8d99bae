// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `submit`: submits a job, or many, and prints their ids.
struct SubmitCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "submit", abstract: "Submit a job.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: SubmissionOptions

  @Option(help: "Submit a copy for each id of the set; {cc} in options and command is the id, as is FLUX_JOB_CC.")
  var cc: String?

  @Option(help: "Like --cc, but FLUX_JOB_CC is not set.")
  var bcc: String?

  @Flag(help: "Wait until the jobs are inactive.")
  var wait = false

  @Option(help: "Wait for this event of all jobs; exec.NAME is one of the execution eventlog.")
  var waitEvent: String?

  @Flag(help: "Show the jobs' output; implies --wait.")
  var watch = false

  @Flag(help: "Do not print job ids.")
  var quiet = false

  @Argument(parsing: .captureForPassthrough, help: "The job's command and its arguments.")
  var command: [String] = []

  /// Submissions under way at once: enough to fill the instance's batches, few enough to bound memory.
  private static let window = 256

  func execute(in context: CommandContext) async throws -> Int32 {
    let command = try PassthroughArguments.command(command, of: Self.self)
    let copies = try copies()
    let prepared = try prepare(copies.first ?? nil, command, context)
    if options.dryRun {
      context.output.print(JSONStyle.python.text(prepared.jobspec))
      return 0
    }
    return try await context.withConnection(connection) { connection in
      try await submit(copies, command, on: connection, context)
    }
  }

  /// The ids of the copies; one nil without --cc.
  private func copies() throws -> [Int?] {
    guard cc == nil || bcc == nil else { throw CommandFailure("specify only one of --cc or --bcc") }
    guard let text = cc ?? bcc else { return [nil] }
    let ids = try IDSet(parsing: text)
    guard ids.count <= 1 << 24 else { throw CommandFailure("--cc: \(ids.count) jobs are too many") }
    return ids.map { $0 }
  }

  private func prepare(
    _ copy: Int?, _ command: [String], _ context: CommandContext
  ) throws -> (jobspec: JSON, submission: JobSubmission) {
    let mine = try copy.map { try options.substituting($0) } ?? options
    let words = try copy.map { copy in try command.map { try SubmissionOptions.substitute(copy, in: $0) } } ?? command
    if let input = mine.input, (try? IDSet(parsing: input)) != nil {
      throw CommandFailure("per-task input not supported for submit")
    }
    let builder = SubmissionBuilder(options: mine, command: words, copy: cc == nil ? nil : copy, context: context)
    let jobspec = try builder.jobspec()
    return (
      jobspec,
      JobSubmission(jobspec: jobspec.text, urgency: try mine.urgencyValue(), flags: try mine.flagBits())
    )
  }

  private var event: String? { waitEvent ?? (wait ? "clean" : nil) }

  private func submit(
    _ copies: [Int?], _ command: [String], on connection: FluxConnection, _ context: CommandContext
  ) async throws -> Int32 {
    let watcher = JobWatcher(
      connection: connection, context: context,
      options: JobWatcher.Options(
        wait: event, isWatching: watch, labelIO: options.labelIO, logsStatus: options.verbose > 0,
        logsEvents: options.verbose > 1))
    return try await withThrowingTaskGroup(of: Int32.self) { group in
      var result: Int32 = 0
      var running = 0
      for copy in copies {
        if running >= Self.window, event == nil, !watch, let code = try await group.next() {
          result = max(result, code)
          running -= 1
        }
        let submission = try prepare(copy, command, context).submission
        group.addTask { try await follow(submission, copy, watcher, connection, context) }
        running += 1
      }
      for try await code in group { result = max(result, code) }
      return result
    }
  }

  /// Submits one job and, where that was asked for, waits for it.
  private func follow(
    _ submission: JobSubmission, _ copy: Int?, _ watcher: JobWatcher, _ connection: FluxConnection,
    _ context: CommandContext
  ) async throws -> Int32 {
    let id: JobID
    do { id = try await submission.submit(on: connection) } catch let error as RPCError {
      let label = copy.map { "cc=\($0): " } ?? ""
      context.errorOutput.print("\(label)\(error)")
      return 1
    }
    if !quiet { context.output.print(context.text(of: id)) }
    guard event != nil || watch else { return 0 }
    return try await watcher.follow(id)
  }
}
