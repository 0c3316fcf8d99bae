// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `job eventlog`: prints one of a job's eventlogs.
struct JobEventlogCommand: ContextCommand {
  static let verb = "job eventlog"
  static let configuration = CommandConfiguration(commandName: "eventlog", abstract: "Print a job's eventlog.")

  @OptionGroup var connection: ConnectionOptions
  @OptionGroup var options: EventlogOptions

  @Flag(name: [.customShort("F"), .long], help: "Follow events until the job is inactive.")
  var follow = false

  @Argument(help: "The job's id.")
  var id: String

  func execute(in context: CommandContext) async throws -> Int32 {
    let job = try JobCommand.parseID(id)
    let path = EventlogPath(options.path)
    let formatter = try options.formatter(in: context)
    return try await context.withConnection(connection) { connection in
      if follow {
        var wait = EventWait(job: job, name: id, path: path, event: path.lastEvent, formatter: formatter)
        wait.waitsForCreation = true
        wait.printsAll = true
        return try await wait.run(on: connection, context)
      }
      try await print(job, path, formatter, connection, context)
      return 0
    }
  }

  private func print(
    _ job: JobID, _ path: EventlogPath, _ formatter: EventlogFormatter, _ connection: FluxConnection,
    _ context: CommandContext
  ) async throws {
    let response: JSON
    do {
      response = try await connection.rpc(
        "job-info.lookup", ["id": job.json, "keys": [.string(path.path)], "flags": 0])
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      throw path.notFound(job: id)
    } catch let error as RPCError where error.errnum == Errnum.overflow.rawValue {
      // It is too long for one answer.
      return try await printWatched(job, path, formatter, connection, context)
    }
    var formatter = formatter
    var text = ""
    for line in (response[path.path]?.stringValue ?? "").split(separator: "\n") {
      text += formatter.text(of: try EventlogEntry(parsing: String(line)), line: String(line)) + "\n"
    }
    context.output.write(text)
  }

  private func printWatched(
    _ job: JobID, _ path: EventlogPath, _ formatter: EventlogFormatter, _ connection: FluxConnection,
    _ context: CommandContext
  ) async throws {
    var formatter = formatter
    for try await event in await EventlogWatch.open(path.path, of: job, on: connection, flags: .initialSentinel) {
      guard let event else { return }
      context.output.write(formatter.text(of: event.entry, line: event.line) + "\n")
    }
  }
}
