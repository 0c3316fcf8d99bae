// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxConnection
import FluxJob
import Glibc
import Subprocess
import SystemPackage

/// `proxy`: runs a command, or a shell, whose Flux commands all work on another instance through one connection.
struct ProxyCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "proxy", abstract: "Run a command with FLUX_URI set to another instance, through one connection.")

  @OptionGroup var connection: ConnectionOptions

  @Flag(name: .shortAndLong, help: "Do not send SIGHUP to the command when the connection is lost.")
  var nohup = false

  @Argument(help: "The instance: a URI, the id of a job that is one, or pid:N.")
  var target: String

  @Argument(parsing: .captureForPassthrough, help: "The command, for a shell; default: a shell.")
  var command: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    let command = try PassthroughArguments.command(command, of: Self.self, mayBeEmpty: true)
    let uri = try await URIResolver(options: connection, context: context).resolve(target)
    let directory = try Self.makeDirectory(context)
    let socket = directory + "/local"
    defer {
      unlink(socket)
      rmdir(directory)
    }
    var configuration = context.connectionConfiguration
    configuration.isInteractive = true
    return try await ProxyServer.withServer(
      to: uri, listeningOn: socket, configuration: configuration, logger: context.logger
    ) { server in
      try await run(command, uri, server, context)
    }
  }

  private static func makeDirectory(_ context: CommandContext) throws -> String {
    var parent = context.variable("TMPDIR") ?? "/tmp"
    var status = stat()
    if stat(parent, &status) != 0 || status.st_mode & S_IFMT != S_IFDIR {
      context.errorOutput.print("flux-proxy: TMPDIR (\(parent)) is not a directory. Using /tmp instead")
      parent = "/tmp"
    }
    var template = Array("\(parent)/flux-proxy-XXXXXX".utf8CString)
    guard template.count + "/local".utf8.count <= 108 else {
      throw CommandFailure("TMPDIR (\(parent)) is too long for the path of a socket")
    }
    guard mkdtemp(&template) != nil else {
      throw CommandFailure("error creating proxy socket directory in \(parent): \(String(cString: strerror(errno)))")
    }
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Runs the command in the user's shell, which shares this process's terminal.
  private func run(
    _ command: [String], _ uri: FluxURI, _ server: ProxyServer, _ context: CommandContext
  ) async throws -> Int32 {
    var environment = context.environment
    environment["FLUX_URI"] = "local://" + server.path
    if uri.scheme == .ssh { environment["FLUX_PROXY_REMOTE"] = Self.authority(uri) }
    let variables = Dictionary(
      uniqueKeysWithValues: environment.compactMap { name, value in
        Subprocess.Environment.Key(rawValue: name).map { ($0, value) }
      })
    let shell = context.variable("SHELL") ?? "/bin/sh"
    let outcome = try await withThrowingTaskGroup(of: TerminationStatus?.self) { group in
      let (pids, sink) = AsyncStream<pid_t>.makeStream()
      group.addTask {
        let outcome = try await Subprocess.run(
          .path(FilePath(shell)),
          arguments: Arguments(command.isEmpty ? [] : ["-c", command.joined(separator: " ")]),
          environment: .custom(variables),
          input: .fileDescriptor(.standardInput, closeAfterSpawningProcess: false),
          output: .fileDescriptor(.standardOutput, closeAfterSpawningProcess: false),
          error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false)
        ) { execution in
          sink.yield(execution.processIdentifier.value)
          sink.finish()
        }
        return outcome.terminationStatus
      }
      group.addTask {
        for await pid in pids { await watch(pid, server, context) }
        return nil
      }
      defer { group.cancelAll() }
      while let status = try await group.next() {
        if let status { return status }
      }
      throw CancellationError()
    }
    switch outcome {
    case .exited(let code): return Int32(code)
    case .signaled(let number): return 128 + Int32(number)
    }
  }

  /// While the command runs: passes signals on to it, and tells it when the connection is lost.
  private func watch(_ pid: pid_t, _ server: ProxyServer, _ context: CommandContext) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask {
        // What a terminal sends it sends to the command too.
        for await number in SignalStream([SIGINT, SIGQUIT, SIGTERM, SIGHUP]).signals
        where number == SIGTERM || number == SIGHUP {
          kill(pid, number)
        }
      }
      group.addTask {
        await server.waitForLoss()
        guard !Task.isCancelled else { return }
        context.errorOutput.print("flux-proxy: Lost connection to Flux")
        guard !nohup else { return }
        context.errorOutput.print("flux-proxy: Sending SIGHUP to child processes")
        kill(pid, SIGHUP)
        kill(pid, SIGCONT)
      }
    }
  }

  private static func authority(_ uri: FluxURI) -> String {
    let user = uri.user.map { $0 + "@" } ?? ""
    let port = uri.port.map { ":\($0)" } ?? ""
    return user + (uri.host ?? "") + port
  }
}
