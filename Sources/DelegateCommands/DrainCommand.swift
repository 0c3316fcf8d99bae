// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob

/// `drain`: no new jobs go to a target.
struct DrainCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "drain", abstract: "Send no new jobs to a target; those that are there go on.",
    discussion:
      "Jobs that name the target wait. It is on record: an agent or an instance that is started again knows it.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "The target: its label, assign:N, or its URI.")
  var target: String

  @Argument(help: "Why, for whoever reads it.")
  var reason: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let request: JSON = ["target": .string(target), "reason": .string(reason.joined(separator: " "))]
    _ = try await context.withConnection(connection) { try await TargetsCommand.ask($0, "drain", request) }
    return 0
  }
}

/// `undrain`: a target takes jobs again.
struct UndrainCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "undrain",
    abstract: "Send jobs to a target again that was drained, or that was paused for failing jobs.")

  @OptionGroup var connection: ConnectionOptions

  @Argument(help: "The target: its label, assign:N, or its URI.")
  var target: String

  func execute(in context: CommandContext) async throws -> Int32 {
    _ = try await context.withConnection(connection) {
      try await TargetsCommand.ask($0, "undrain", ["target": .string(target)])
    }
    return 0
  }
}
