// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `job ID`, or `job explain ID`: the story of a delegated job.
struct JobExplainCommand: ContextCommand {
  static let verb = "job"
  static let configuration = CommandConfiguration(
    commandName: "explain", abstract: "Tell a delegated job's story in words, from its eventlog.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(help: "JSON.")
  var json = false

  @Argument(help: "The job's id.")
  var id: String

  func execute(in context: CommandContext) async throws -> Int32 {
    let job = try JobCommand.parseID(id)
    let story = try await context.withConnection(connection) { connection in
      do {
        let found = try await connection.rpc("job-info.lookup", ["id": job.json, "keys": ["eventlog"], "flags": 0])
        return JobStory(job, try Eventlog(parsing: found["eventlog"]?.stringValue ?? "").entries)
      } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
        throw CommandFailure("job \(id) is not known here")
      }
    }
    guard !json else {
      context.output.print(JSONStyle.python.text(story.json))
      return 0
    }
    let name = job.encoded(context.printsUnicode ? .f58 : .f58plain)
    context.output.print("\(name) \(story.summary)")
    for line in story.lines { context.output.print("  \(CFormat.time(line.time, "%b%d %H:%M:%S"))  \(line.words)") }
    return 0
  }
}
