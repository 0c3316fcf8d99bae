// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire
import Glibc

/// `cancel`: cancels jobs by id, or all that match.
struct CancelCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "cancel", abstract: "Cancel jobs.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(help: "All jobs.")
  var all = false

  @Flag(
    name: [.customShort("n"), .customLong("dry-run"), .customLong("dry")], help: "Cancel nothing; say what would be.")
  var dryRun = false

  @Flag(name: .shortAndLong, help: "Say nothing when no job matches.")
  var quiet = false

  @Option(name: [.customShort("u", allowingJoined: true), .long], help: "The jobs of this user, or all.")
  var user: String?

  @Option(
    name: [.customShort("S", allowingJoined: true), .customLong("states"), .customLong("state")],
    help: "Jobs in these states.")
  var states: [String] = []

  @Option(name: [.customShort("m", allowingJoined: true), .long], help: "A note for the exception.")
  var message: String?

  @Argument(help: "Job ids.")
  var ids: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let isAll = all || user != nil || !states.isEmpty
    guard ids.isEmpty || !isAll else {
      throw CommandFailure("Do not specify a list of jobids with --all,--user,--states options")
    }
    if isAll { return try await cancelAll(context) }
    guard !ids.isEmpty else { throw CommandFailure("No target jobs were provided") }
    let jobs = try ids.map { try JobCommand.parseID($0) }
    if dryRun {
      say("Would cancel \(Self.count(Int64(jobs.count), "job"))", context)
      return 0
    }
    return try await context.withConnection(connection) { try await cancel(jobs, $0, context) }
  }

  private func cancel(_ jobs: [JobID], _ connection: FluxConnection, _ context: CommandContext) async throws -> Int32 {
    try await withThrowingTaskGroup(of: Bool.self) { group in
      for id in jobs {
        group.addTask {
          var payload: JSON = ["id": id.json, "type": "cancel", "severity": 0]
          if let message { payload["note"] = .string(message) }
          do {
            try await connection.rpc("job-manager.raise", payload)
            return true
          } catch let error as RPCError {
            context.errorOutput.print("flux-cancel: ERROR: \(context.text(of: id)): \(error)")
            return false
          }
        }
      }
      var result: Int32 = 0
      for try await isDone in group where !isDone { result = 1 }
      return result
    }
  }

  private func cancelAll(_ context: CommandContext) async throws -> Int32 {
    var request: JSON = [
      "dry_run": .bool(dryRun), "userid": .int(try UserName.id(of: user)), "states": .int(try stateMask()),
      "severity": 0, "type": "cancel",
    ]
    if let message { request["note"] = .string(message) }
    let payload = request
    return try await context.withConnection(connection) { connection in
      let response = try await connection.rpc("job-manager.raiseall", payload)
      let count = response["count"]?.intValue ?? 0
      let errors = response["errors"]?.intValue ?? 0
      if count > 0 {
        let jobs = Self.count(count, "job")
        say(
          dryRun ? "Would cancel \(jobs)" : "Canceled \(jobs) (\(Self.count(errors, "error")))", context)
      } else if !quiet {
        say("Matched 0 jobs", context)
      }
      return 0
    }
  }

  private func stateMask() throws -> Int64 {
    guard !states.isEmpty else { return JobFilter.states["active"] ?? 0 }
    var mask: Int64 = 0
    for name in states.flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) }) {
      guard let bits = JobFilter.states[name.lowercased()], bits & 64 == 0 else {
        throw CommandFailure("Invalid state \(name) specified")
      }
      mask |= bits
    }
    return mask
  }

  private static func count(_ number: Int64, _ noun: String) -> String {
    "\(number) \(noun)\(number == 1 ? "" : "s")"
  }

  private func say(_ text: String, _ context: CommandContext) { context.errorOutput.print("flux-cancel: \(text)") }
}
