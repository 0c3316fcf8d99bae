// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import EmbeddedFlux
import FluxJob
import Logging
import Subprocess
import SystemPackage

#if canImport(Glibc)
  import Glibc
#endif

/// The verbs that need the server's side.
let serverCommands: [any ParsableCommand.Type] = [StartCommand.self, AgentCommand.self]

/// `flux-delegate start`: an embedded instance that runs a command, or serves until it is stopped.
struct StartCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "start", abstract: "Start an embedded instance",
    discussion: """
      Like `flux start`: with a COMMAND, runs it with FLUX_URI set and ends with its exit status; without one, prints \
      FLUX_URI=... and serves until SIGINT, SIGTERM, SIGHUP or `flux shutdown`. Jobs run on this machine; nodes and \
      cores are counted, not bound.
      """)

  @Option(name: .shortAndLong, help: "The instance's name: the first part of its nodes' host names.")
  var name = "node"

  @Option(name: [.customShort("N", allowingJoined: true), .long], help: "The number of virtual nodes.")
  var nodes = 1

  @Option(name: [.customShort("c", allowingJoined: true), .long], help: "Cores a node (default: the machine's).")
  var cores: Int?

  @Option(name: [.customShort("g", allowingJoined: true), .customLong("gpus")], help: "GPUs a node.")
  var gpus = 0

  @Option(help: "The path of its socket (default: a new directory in TMPDIR).")
  var socket: String?

  @Option(help: "The directory in which jobs are kept, also over a restart (default: memory only).")
  var statedir: String?

  @Argument(parsing: .captureForPassthrough, help: "A command and its arguments.")
  var command: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let configuration = EmbeddedInstance.Configuration(
      name: name, nodes: nodes, coresPerNode: cores, gpusPerNode: gpus, socketPath: socket,
      stateDirectory: statedir)
    let words = try PassthroughArguments.command(command, of: Self.self, mayBeEmpty: true)
    return try await EmbeddedInstance.withInstance(configuration, logger: context.logger) { instance in
      guard !words.isEmpty else { return await Self.serve(instance, context) }
      return try await Self.runUntilShutdown(words, instance)
    }
  }

  private static func serve(_ instance: EmbeddedInstance, _ context: CommandContext) async -> Int32 {
    context.output.print("FLUX_URI=\(instance.uri)")
    await withTaskGroup { group in
      group.addTask { await StopSignal.wait() }
      group.addTask { await instance.waitForShutdown() }
      await group.next()
      group.cancelAll()
    }
    return 0
  }

  /// Runs the command to its end; `flux shutdown` ends it with SIGHUP, as in Flux.
  private static func runUntilShutdown(_ words: [String], _ instance: EmbeddedInstance) async throws -> Int32 {
    try await withThrowingTaskGroup(of: Int32?.self) { group in
      group.addTask { try await run(words, instance) }
      group.addTask {
        await instance.waitForShutdown()
        return nil
      }
      if let status = try await group.next() ?? nil {
        group.cancelAll()
        return status
      }
      group.cancelAll()
      do { return try await group.next().flatMap { $0 } ?? hangup } catch { return hangup }
    }
  }

  /// The exit status of a command that SIGHUP has ended.
  private static let hangup: Int32 = 128 + SIGHUP
  /// How long the command has after SIGHUP before SIGKILL.
  private static let patience = Duration.seconds(10)

  private static func run(_ words: [String], _ instance: EmbeddedInstance) async throws -> Int32 {
    let executable: Executable = words[0].contains("/") ? .path(FilePath(words[0])) : .name(words[0])
    let environment = Subprocess.Environment.inherit.updating(["FLUX_URI": instance.uri.description])
    var options = PlatformOptions()
    options.teardownSequence = [.send(signal: .terminalClosed, allowedDurationToNextStep: patience)]
    let result: ExecutionResult<Void, FileDescriptorOutput, FileDescriptorOutput>
    do {
      result = try await Subprocess.run(
        executable, arguments: Arguments(Array(words.dropFirst())), environment: environment,
        platformOptions: options,
        input: .fileDescriptor(.standardInput, closeAfterSpawningProcess: false),
        output: .fileDescriptor(.standardOutput, closeAfterSpawningProcess: false),
        error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false))
    } catch let error as SubprocessError {
      throw CommandFailure("\(words[0]): cannot be started: \(error)", exitCode: 127)
    }
    switch result.terminationStatus {
    case .exited(let code): return code
    case .signaled(let signal): return 128 + signal
    }
  }
}
