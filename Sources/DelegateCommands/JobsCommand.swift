// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `jobs`: lists jobs.
struct JobsCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "jobs", abstract: "List jobs.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: .customShort("a"), help: "Jobs in all states.")
  var isAll = false

  @Flag(name: .customShort("A"), help: "Jobs of all users.")
  var isAllUsers = false

  @Option(name: [.customShort("c", allowingJoined: true), .long], help: "At most so many jobs; 0 is no limit.")
  var count: Int64 = 1000

  @Option(
    name: [.customShort("f", allowingJoined: true), .long], help: "States and results, separated by commas. Repeatable."
  )
  var filter: [String] = []

  @Option(help: "Jobs that have become inactive since: seconds since the epoch, or -DURATION.")
  var since: String?

  @Flag(name: [.customShort("n"), .customLong("no-header"), .customLong("suppress-header")], help: "No heading.")
  var noHeader = false

  @Option(name: [.customShort("u", allowingJoined: true), .long], help: "The jobs of this user, or all.")
  var user: String?

  @Option(help: "Jobs of this name.")
  var name: String?

  @Option(name: [.customShort("q", allowingJoined: true), .long], help: "Jobs in these queues.")
  var queue: [String] = []

  @Option(
    name: [.customShort("o", allowingJoined: true), .long],
    help: "A format: default, long, deps, endreason, delegate, or text with {fields}.")
  var format: String?

  @Flag(name: [.customShort("d"), .long], help: "Only delegated jobs, in the format delegate unless another is named.")
  var delegated = false

  @Flag(help: "JSON.")
  var json = false

  @Option(help: "always, never or auto.")
  var color: String?

  @Argument(help: "Job ids.")
  var ids: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let format = try tableFormat()
    let hasColor = try context.usesColor(color)
    let colorFields = hasColor ? ["result", "annotations"] : []
    let filterFields = delegated ? ["annotations", "dependencies", "exception.type"] : []
    let attributes = json ? ["all"] : JobFields.attributes(of: format.names + colorFields + filterFields)
    let request = try request(attributes)
    let jobIDs = try ids.map { ($0, try JobCommand.parseID($0)) }
    var jobs = try await context.withConnection(connection) { connection in
      let jobs =
        jobIDs.isEmpty
        ? try await list(request, connection, context)
        : try await lookUp(jobIDs, attributes, connection, context)
      return delegated ? await Self.asked(jobs, connection) : jobs
    }
    let isTruncated = ids.isEmpty && count > 0 && Int64(jobs.count) > count
    if isTruncated { jobs.removeLast() }
    if delegated { jobs.removeAll { !$0.isDelegated } }
    guard ids.isEmpty || !jobs.isEmpty else { return 1 }
    if json {
      printJSON(jobs, context)
    } else {
      try printTable(jobs, format, hasColor, context)
    }
    if isTruncated, !noHeader, !json {
      context.errorOutput.print("warning: output truncated at \(count) jobs.")
      context.errorOutput.print("Use --count to increase returned results or use filters to alter results.")
    }
    return 0
  }

  private func tableFormat() throws -> TableFormat {
    let format = format ?? (delegated ? "delegate" : "default")
    guard format.contains("{") else {
      guard let named = JobFields.formats[format] else {
        let names = JobFields.formats.keys.sorted().joined(separator: ", ")
        throw CommandFailure("--format: No such format \(format); there are \(names), or write {fields}")
      }
      return try TableFormat(parsing: named, heading: JobFields.heading)
    }
    return try TableFormat(parsing: format, heading: JobFields.heading)
  }

  // MARK: Asking

  /// The request for job-list.list, as Flux's command makes it.
  private func request(_ attributes: [String]) throws -> JSON {
    var conditions: [JSON] = []
    let userID = isAllUsers ? 0xffff_ffff : try UserName.id(of: user)
    if userID != 0xffff_ffff { conditions.append(["userid": [.int(userID)]]) }
    if let name { conditions.append(["name": [.string(name)]]) }
    let queues = queue.flatMap { $0.split(separator: ",").map { JSON.string(String($0)) } }
    if !queues.isEmpty { conditions.append(["queue": .array(queues)]) }
    let (states, results) = try masks()
    let byState: JSON = ["states": [.int(states)]]
    let byResult: JSON = ["results": [.int(results)]]
    if states != 0, results != 0 {
      conditions.append(["or": [byState, byResult]])
    } else {
      conditions.append(states != 0 ? byState : byResult)
    }
    return [
      "max_entries": .int(count > 0 ? count &+ 1 : 0), "attrs": .array(attributes.map { .string($0) }),
      "since": .double(try sinceTime()), "constraint": ["and": .array(conditions)],
    ]
  }

  private func masks() throws -> (states: Int64, results: Int64) {
    let names = filter.flatMap { $0.split(separator: ",").map { $0.lowercased() } }
    guard !names.isEmpty else { return (isAll || since != nil ? 126 : 62, 0) }
    var states: Int64 = 0
    var results: Int64 = 0
    for name in names {
      if let bits = JobFilter.states[name] {
        states |= bits
      } else if let bits = JobFilter.results[name] {
        results |= bits
      } else {
        throw CommandFailure("Invalid filter specified: \(name)")
      }
    }
    return (states, results)
  }

  private func sinceTime() throws -> Double {
    guard let since else { return 0 }
    if since.hasPrefix("-") {
      return CFormat.now() - (try StandardDuration(parsing: String(since.dropFirst())).seconds)
    }
    guard let time = Double(since) else {
      throw CommandFailure("--since: '\(since)' is neither seconds since the epoch nor -DURATION")
    }
    guard time <= CFormat.now() else { throw CommandFailure("--since=\(since) appears to be in the future") }
    return time
  }

  private func list(_ request: JSON, _ connection: FluxConnection, _ context: CommandContext) async throws
    -> [JobRecord]
  {
    var jobs: [JobRecord] = []
    for try await message in await connection.stream("job-list.list", request) {
      for job in try message.json()?["jobs"]?.arrayValue ?? [] {
        jobs.append(try JobRecord(job, printsUnicode: context.printsUnicode))
      }
    }
    return jobs
  }

  private func lookUp(
    _ ids: [(String, JobID)], _ attributes: [String], _ connection: FluxConnection, _ context: CommandContext
  ) async throws -> [JobRecord] {
    var jobs: [JobRecord] = []
    for (text, id) in ids {
      do {
        let response = try await connection.rpc(
          "job-list.list-id", ["id": id.json, "attrs": .array(attributes.map { .string($0) })])
        guard let job = response["job"] else { continue }
        jobs.append(try JobRecord(job, printsUnicode: context.printsUnicode))
      } catch let error as RPCError {
        let isUnknown = error.errnum == Errnum.noEntry.rawValue
        context.errorOutput.print(isUnknown ? "JobID \(text) unknown" : "rpc: \(error)")
      }
    }
    return jobs
  }

  /// The same jobs, with what the agent says of them, if one is there.
  private static func asked(_ jobs: [JobRecord], _ connection: FluxConnection) async -> [JobRecord] {
    guard let answer = try? await TargetsCommand.ask(connection, "jobs") else { return jobs }
    var told: [JobID: JSON] = [:]
    for entry in answer["jobs"]?.arrayValue ?? [] { if let id = JobID(entry["id"]) { told[id] = entry } }
    return jobs.map { job in
      var job = job
      job.delegation = told[job.id]
      return job
    }
  }

  // MARK: Printing

  private func printTable(
    _ jobs: [JobRecord], _ format: TableFormat, _ hasColor: Bool, _ context: CommandContext
  ) throws {
    let (header, lines) = try format.lines(of: jobs, hasHeader: !noHeader)
    var text = header.map { $0 + "\n" } ?? ""
    for (job, line) in zip(jobs, lines) {
      guard let line else { continue }
      let color = hasColor ? Self.color(of: job) : nil
      text += (color ?? "") + line + "\n" + (color == nil ? "" : "\u{1b}[0;0m")
    }
    context.output.write(text)
  }

  private static func color(of job: JobRecord) -> String? {
    switch job.result {
    case .completed?: "\u{1b}[01;32m"
    case .failed?, .timeout?: "\u{1b}[01;31m"
    case .canceled?: "\u{1b}[37m"
    case nil: job.uri == nil ? nil : "\u{1b}[01;34m"
    }
  }

  private func printJSON(_ jobs: [JobRecord], _ context: CommandContext) {
    let objects = jobs.map { JobDescription.json(of: $0) }
    let value: JSON = ids.count == 1 ? objects.first ?? [:] : ["jobs": .array(objects)]
    context.output.print(JSONStyle.python.text(value))
  }
}
