// SPDX-License-Identifier: LGPL-3.0-only

import Agent
import ArgumentParser
import FluxConnection
import FluxJob
import Logging

#if canImport(Glibc)
  import Glibc
#endif

/// `flux delegate agent`: the process that the plugin starts. Nobody needs to start it by hand.
struct AgentCommand: ContextCommand {
  static let configuration = CommandConfiguration(
    commandName: "agent", abstract: "Carry out the delegations of an instance (started by delegate.so)",
    discussion: "Attaches to the plugin of the instance in FLUX_URI and ends with it.")

  @Option(help: "Seconds that a target may take to connect and to answer its first question.")
  var connectTimeout: Int?

  func execute(in context: CommandContext) async throws -> Int32 {
    guard let text = context.variable("FLUX_URI") else {
      throw CommandFailure("FLUX_URI is not set: the agent is started by delegate.so, inside an instance")
    }
    signal(SIGPIPE, SIG_IGN)
    Self.leaveTerminal()
    var configuration = Agent.Configuration(origin: try FluxURI(parsing: text))
    // The plugin has the agent's process group killed: an ssh that hangs must not stay behind.
    configuration.connection.keepsProcessGroup = true
    let given = connectTimeout ?? context.variable("FLUX_DELEGATE_CONNECT_TIMEOUT").flatMap { Int($0) }
    if let given {
      guard (1...3600).contains(given) else { throw CommandFailure("the connect timeout is 1 to 3600 seconds") }
      configuration.connection.localTimeout = .seconds(given)
      configuration.connection.sshTimeout = .seconds(given)
      configuration.probeTimeout = .seconds(given)
    }
    try await Agent(configuration, logger: context.logger).run()
    return 0
  }

  /// Gives up the terminal that the instance may have been started on: no ssh is to ask for a password there.
  private static func leaveTerminal() {
    guard getsid(0) != getpid() else { return }
    let terminal = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)
    guard terminal >= 0 else { return }
    _ = ioctl(terminal, UInt(TIOCNOTTY), 0 as CInt)
    close(terminal)
  }
}
