// SPDX-License-Identifier: LGPL-3.0-only

public import ArgumentParser
import Glibc

/// The command `flux-delegate`: its verbs are Flux's own client commands, the embedded instance and the agent.
public struct FluxDelegate: AsyncParsableCommand {
  /// The version that `flux-delegate --version` and `flux-delegate version` print.
  public static let version = "0.1.0"

  /// Name, help and verbs.
  public static let configuration = CommandConfiguration(
    commandName: "flux-delegate",
    abstract: "Run jobs of one Flux instance on another; speak to any instance.",
    discussion: """
      The verbs work on the instance that FLUX_URI names. --uri URI, before the verb or after it, names another: \
      local:///path/to/socket or ssh://[user@]host[:port]/path/to/socket.
      """,
    version: version,
    subcommands: clientCommands + serverCommands)

  /// The verbs that need nothing but a connection to an instance.
  static var clientCommands: [any ParsableCommand.Type] {
    [
      SubmitCommand.self, RunCommand.self, JobsCommand.self, CancelCommand.self, JobCommand.self,
      TargetsCommand.self, DrainCommand.self, UndrainCommand.self, ResourceCommand.self, JobtapCommand.self,
      ConfigCommand.self, DmesgCommand.self, GetattrCommand.self,
      URICommand.self,
      VersionCommand.self, RelayCommand.self, ProxyCommand.self,
    ]
  }

  /// A root command; the parser makes one.
  public init() {}

  /// Runs the verb that the process's arguments name, and ends the process with its exit code.
  ///
  /// Call it from an asynchronous function: at the top level of a `main.swift` the name means ArgumentParser's other one.
  public static func main() async {
    let code = await run(Array(CommandLine.arguments.dropFirst()), in: .process)
    Glibc.exit(code)
  }

  /// Runs the verb that `arguments` name.
  ///
  /// - Parameters:
  ///   - arguments: the command line without the program's name.
  ///   - context: where the verb reads its environment and writes its output.
  /// - Returns: the exit code; that of the job for `run` and `job attach`.
  public static func run(_ arguments: [String], in context: CommandContext) async -> Int32 {
    var context = context
    var arguments = arguments[...]
    do {
      if let uri = try takeURI(&arguments) { context.environment["FLUX_URI"] = uri }
      let command = try parseAsRoot(Array(arguments))
      return try await CommandContext.$current.withValue(context) {
        if var command = command as? any AsyncParsableCommand {
          try await command.run()
        } else {
          var command = command
          try command.run()
        }
        return 0
      }
    } catch {
      return report(error, verb: arguments.first, context)
    }
  }

  /// Takes the option --uri off the front of the arguments, where it stands for every verb.
  private static func takeURI(_ arguments: inout ArraySlice<String>) throws -> String? {
    guard let first = arguments.first else { return nil }
    if first.hasPrefix("--uri=") {
      arguments.removeFirst()
      return String(first.dropFirst("--uri=".count))
    }
    guard first == "--uri" else { return nil }
    guard arguments.count > 1 else { throw ValidationError("--uri needs a value: --uri URI") }
    let uri = arguments[arguments.startIndex + 1]
    arguments.removeFirst(2)
    return uri
  }

  /// What the parser threw: help and version go to the output, mistakes to the error output.
  private static func report(_ error: any Error, verb: String?, _ context: CommandContext) -> Int32 {
    let text = fullMessage(for: error)
    let code = exitCode(for: error)
    if !text.isEmpty { (code.isSuccess ? context.output : context.errorOutput).print(text) }
    guard code == .validationFailure else { return code.rawValue }
    // Flux's commands in C answer a wrong command line with 1, those in Python with 2.
    return ["job", "getattr", "config", "version", "relay", "proxy"].contains(verb) ? 1 : 2
  }
}
