// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// `job raise`: raises an exception on jobs.
struct JobRaiseCommand: ContextCommand {
  static let verb = "job raise"
  static let configuration = CommandConfiguration(commandName: "raise", abstract: "Raise an exception on jobs.")

  @OptionGroup var connection: ConnectionOptions

  @Option(name: [.customShort("s", allowingJoined: true), .long], help: "Severity, 0 to 7; 0 ends the job.")
  var severity: Int64 = 0

  @Option(name: [.customShort("t", allowingJoined: true), .long], help: "The exception's type.")
  var type = "cancel"

  @Option(name: [.customShort("m", allowingJoined: true), .long], help: "A note.")
  var message: String?

  @Argument(help: "Job ids, then the words of a note.")
  var arguments: [String]

  func execute(in context: CommandContext) async throws -> Int32 {
    let ids = arguments.prefix { (try? JobID(parsing: $0)) != nil }
    let words = arguments.dropFirst(ids.count)
    guard !ids.isEmpty else { _ = try JobCommand.parseID(arguments.first ?? ""); return 1 }
    guard message == nil || words.isEmpty else {
      throw CommandFailure("Do not set note on command line and with --message")
    }
    let note = message ?? (words.isEmpty ? nil : words.joined(separator: " "))
    return try await context.withConnection(connection) { connection in
      try await JobRequests.each(Array(ids), "raise", context) { id in
        var payload: JSON = ["id": id.json, "type": .string(type), "severity": .int(severity)]
        if let note { payload["note"] = .string(note) }
        try await connection.rpc("job-manager.raise", payload)
      }
    }
  }
}
