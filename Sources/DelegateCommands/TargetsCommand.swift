// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `targets`: the targets of an instance, as its agent sees them.
struct TargetsCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "targets", abstract: "List the targets that jobs are delegated to.",
    discussion: """
      STATE is connected, connecting, idle (nobody needs it now), silent (connected, and does not answer), unreachable, or, for new jobs, drained \
      or paused.
      """)

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: [.customShort("n"), .customLong("no-header")], help: "No heading.")
  var noHeader = false

  @Option(
    name: [.customShort("o", allowingJoined: true), .long], help: "A format: default, long, or text with {fields}.")
  var format = "default"

  @Flag(help: "JSON.")
  var json = false

  func execute(in context: CommandContext) async throws -> Int32 {
    guard let format = format.contains("{") ? format : TargetLine.formats[format] else {
      throw CommandFailure("--format: No such format \(format); there are default and long, or write {fields}")
    }
    let table = try TableFormat(parsing: format, heading: TargetLine.heading)
    let answer = try await context.withConnection(connection) { try await Self.ask($0, "targets") }
    guard !json else {
      context.output.print(JSONStyle.python.text(answer))
      return 0
    }
    let rows = (answer["targets"]?.arrayValue ?? []).map { TargetLine(json: $0) }
    if rows.isEmpty {
      context.errorOutput.print(
        "no targets are configured, and no job is at one: configure [[delegate]] with uri and label")
    }
    let (header, lines) = try table.lines(of: rows, hasHeader: !noHeader)
    for line in [header] + lines { if let line { context.output.print(line) } }
    return 0
  }

  /// Asks the instance's agent.
  static func ask(_ connection: FluxConnection, _ method: String, _ payload: JSON = [:]) async throws -> JSON {
    do { return try await connection.rpc("delegate-agent.\(method)", payload) } catch let error as RPCError
      where error.errnum == Errnum.notImplemented.rawValue
    {
      throw CommandFailure(
        "no agent is there: load the plugin with 'flux jobtap load delegate.so', or see 'flux jobtap query delegate.so' and "
          + "'flux dmesg'")
    } catch let error as RPCError where error.errnum == Errnum.invalid.rawValue {
      throw CommandFailure(error.text ?? "\(error)")
    }
  }
}
