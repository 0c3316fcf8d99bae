// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `resource list`: a table of the resources by state.
struct ResourceListCommand: ContextCommand {
  static let verb = "resource list"
  static let configuration = CommandConfiguration(commandName: "list", abstract: "List resources by state.")

  @OptionGroup var connection: ConnectionOptions

  @Option(
    name: [.customShort("s", allowingJoined: true), .long],
    help: "States, separated by commas: free, allocated, down, up, all.")
  var states = "free,allocated,down"

  @Option(name: [.customShort("o", allowingJoined: true), .long], help: "A format: default, or text with {fields}.")
  var format = "default"

  @Flag(name: [.customShort("n"), .customLong("no-header")], help: "No heading.")
  var noHeader = false

  @Flag(help: "Leave out states without resources.")
  var skipEmpty = false

  @Flag(help: "JSON: the resource sets R by state.")
  var json = false

  private static let defaultFormat =
    "{state:>10} ?+:{queue:<5} ?:{propertiesx:<10.10+} {nnodes:>6} +:{ncores:>6} ?+:{ngpus:>5} {nodelist}"

  func execute(in context: CommandContext) async throws -> Int32 {
    let states = try states.split(separator: ",", omittingEmptySubsequences: false).map { name in
      guard let state = ResourceReport.State(rawValue: String(name)) else {
        throw CommandFailure("Invalid resource state \(name) specified; the states are up, down, allocated, free, all")
      }
      return state
    }
    guard format == "default" || format.contains("{") else {
      throw CommandFailure("--format: No such format \(format); there is default, or write {fields}")
    }
    let table = try TableFormat(
      parsing: format == "default" ? Self.defaultFormat : format, heading: ResourceLine.heading)
    let report = try await context.withConnection(connection) { try await Self.fetch($0) }
    if json {
      var object = JSONObject()
      for state in states { object[state.rawValue] = report[state].json }
      context.output.print(JSON.object(object).text)
      return 0
    }
    let rows = report.lines(states, fields: table.names).filter { !skipEmpty || !$0.resources.isEmpty }
    let (header, lines) = try table.lines(of: rows, hasHeader: !noHeader)
    for line in [header] + lines {
      if let line { context.output.print(line) }
    }
    return 0
  }

  /// Asks for the resources, of the scheduler itself where the instance is too old to know.
  private static func fetch(_ connection: FluxConnection) async throws -> ResourceReport {
    async let config = connection.rpc("config.get")
    var status: JSON
    do { status = try await connection.rpc("resource.sched-status", node: 0) } catch let error as RPCError
      where error.errnum == Errnum.notImplemented.rawValue
    {
      status = try await connection.rpc("sched.resource-status", node: 0)
    }
    return try ResourceReport(status, config: (try? await config) ?? [:])
  }
}
