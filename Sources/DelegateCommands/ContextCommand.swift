// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import FluxWire

/// A verb: it runs in a context and returns its exit code.
protocol ContextCommand: AsyncParsableCommand {
  /// The verb as the user writes it, for messages.
  static var verb: String { get }

  /// Does the work.
  ///
  /// - Returns: the exit code.
  func execute(in context: CommandContext) async throws -> Int32
}

extension ContextCommand {
  static var verb: String { configuration.commandName ?? "" }

  /// Runs the verb in the task's context.
  mutating func run() async throws {
    let context = CommandContext.current
    let code = try await Self.exitCode(context) { [self] in try await execute(in: context) }
    if code != 0 { throw ExitCode(code) }
  }

  /// The one place that turns errors into a line for the user and an exit code.
  private static func exitCode(_ context: CommandContext, _ body: () async throws -> Int32) async throws -> Int32 {
    do {
      return try await body()
    } catch let error as ValidationError {
      throw error
    } catch let error as CleanExit {
      throw error
    } catch let failure as CommandFailure {
      if !failure.message.isEmpty { complain(failure.message, context) }
      return failure.exitCode
    } catch let error as ConnectionError {
      complain(error.message, context)
    } catch let error as RPCError {
      complain(error.description, context)
    } catch let error as FormatError {
      complain(error.description, context)
    } catch is CancellationError {
      complain("interrupted", context)
    } catch {
      complain("\(error)", context)
    }
    return 1
  }

  private static func complain(_ message: String, _ context: CommandContext) {
    context.errorOutput.print("flux-delegate \(verb): \(message)")
  }
}
