// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import NIOCore
import NIOPosix
import Subprocess
import SystemPackage

#if canImport(Glibc)
  import Glibc
#endif

/// A channel to an instance that carries messages as they are: what a proxy needs and ``FluxConnection`` hides.
struct ProxyUpstream: Sendable {
  let uri: FluxURI
  let configuration: FluxConnection.Configuration
  let loop: any EventLoop

  /// Opens the channel, runs `body`, and closes it.
  func withChannel<Result: Sendable>(
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>,
    body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    switch uri.scheme {
    case .local:
      let channel = try await connect(initializer)
      return try await run(body, then: channel)
    case .ssh: return try await withSSH(initializer, body)
    }
  }

  /// Waits for the instance's greeting, as long as the configuration allows.
  func wait(for ready: EventLoopFuture<Void>) async throws {
    let limit = uri.scheme == .local ? configuration.localTimeout : configuration.sshTimeout
    let late = loop.makePromise(of: Void.self)
    let timer = loop.scheduleTask(in: TimeAmount(limit)) {
      late.fail(
        ConnectionError(
          .silent, "\(uri): accepted the connection and then said nothing for \(limit.components.seconds) s"))
    }
    ready.cascade(to: late)
    defer { timer.cancel() }
    try await late.futureResult.get()
  }

  private func run<Result: Sendable>(
    _ body: @Sendable () async throws -> Result, then channel: any Channel
  ) async throws -> Result {
    do {
      let result = try await body()
      try? await channel.close()
      return result
    } catch {
      try? await channel.close()
      throw error
    }
  }

  /// Connects to the socket, trying again for half a second as libflux does.
  private func connect(
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
  ) async throws -> any Channel {
    var delay = Duration.milliseconds(16)
    for _ in 0..<configuration.localRetries {
      do { return try await connectOnce(initializer) } catch let error as IOError
        where error.errnoCode == ENOENT || error.errnoCode == ECONNREFUSED
      {
        try await Task.sleep(for: delay)
        delay *= 2
      }
    }
    do { return try await connectOnce(initializer) } catch let error as IOError {
      let isPermission = error.errnoCode == EACCES || error.errnoCode == EPERM
      throw ConnectionError(
        isPermission ? .refused : .noSocket,
        "\(uri): \(String(cString: strerror(error.errnoCode)))" + (isPermission ? "" : "; is the instance running?"),
        cause: error)
    }
  }

  private func connectOnce(
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>
  ) async throws -> any Channel {
    try await ClientBootstrap(group: loop)
      .connectTimeout(TimeAmount(configuration.localTimeout))
      .channelInitializer(initializer)
      .connect(unixDomainSocketPath: uri.path).get()
  }

  /// Runs ssh on one half of a socket pair, and `body` with a channel on the other. ssh speaks to the user itself.
  private func withSSH<Result: Sendable>(
    _ initializer: @escaping @Sendable (any Channel) -> EventLoopFuture<Void>,
    _ body: @escaping @Sendable () async throws -> Result
  ) async throws -> Result {
    var pair: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw ConnectionError(.limit, "cannot make a socket pair for ssh: \(String(cString: strerror(errno)))")
    }
    let far = FileDescriptor(rawValue: pair[1])
    let farOutput = FileDescriptor(rawValue: fcntl(pair[1], F_DUPFD_CLOEXEC, 0))
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: loop).channelInitializer(initializer).withConnectedSocket(pair[0])
        .get()
    } catch {
      try? far.close()
      try? farOutput.close()
      throw error
    }
    let command = SSHCommand(to: uri, environment: environment, localDirectories: localDirectories)
    let executable: Executable =
      command.program.contains("/") ? .path(FilePath(command.program)) : .name(command.program)
    var options = PlatformOptions()
    options.teardownSequence = [.send(signal: .terminate, allowedDurationToNextStep: .seconds(1))]
    do {
      let outcome = try await Subprocess.run(
        executable, arguments: Arguments(command.arguments), platformOptions: options,
        input: .fileDescriptor(far, closeAfterSpawningProcess: true),
        output: .fileDescriptor(farOutput, closeAfterSpawningProcess: true),
        error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false)
      ) { _ in
        // ssh ends with its connection, which `run` closes.
        do { return Swift.Result<Result, any Error>.success(try await run(body, then: channel)) } catch {
          return .failure(error)
        }
      }
      return try outcome.closureResult.get()
    } catch let error as SubprocessError {
      try? await channel.close()
      throw ConnectionError(
        .ssh, "\(uri): cannot run \(command.program): \(error); set FLUX_SSH to the ssh program", cause: error)
    }
  }

  private var environment: [String: String] {
    if let environment = configuration.environment { return environment }
    var result: [String: String] = [:]
    for name in ["FLUX_SSH", "FLUX_SSH_RCMD", "PATH"] {
      if let value = getenv(name) { result[name] = String(cString: value) }
    }
    return result
  }

  /// Where this side has `flux` and `flux-delegate`: on a shared file system the far side has them there too.
  private var localDirectories: [String] {
    let search = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    let found = ["flux", "flux-delegate"].compactMap { program in
      search.first { access("\($0)/\(program)", X_OK) == 0 }
    }
    return found.first == found.last ? Array(found.prefix(1)) : found
  }
}
