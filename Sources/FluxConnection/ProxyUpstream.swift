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
          .silent, "\(uri): accepted the connection and then said nothing for \(limit.inWords)"))
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
    let launch = try SSHLaunch(to: uri, configuration: configuration)
    let channel: any Channel
    do {
      channel = try await ClientBootstrap(group: loop).channelInitializer(initializer)
        .withConnectedSocket(launch.near).get()
    } catch {
      launch.closeFarHalf()
      throw error
    }
    var options = PlatformOptions()
    options.teardownSequence = SSHLaunch.teardown
    do {
      let outcome = try await Subprocess.run(
        launch.executable, arguments: launch.arguments, platformOptions: options,
        input: .fileDescriptor(launch.input, closeAfterSpawningProcess: true),
        output: .fileDescriptor(launch.output, closeAfterSpawningProcess: true),
        error: .fileDescriptor(.standardError, closeAfterSpawningProcess: false)
      ) { execution in
        let outcome: Swift.Result<Result, any Error>
        do { outcome = .success(try await run(body, then: channel)) } catch { outcome = .failure(error) }
        // ssh ends with its connection, which `run` has closed, unless its network is dead.
        await execution.teardown(using: SSHLaunch.patientTeardown)
        return outcome
      }
      return try outcome.closureResult.get()
    } catch let error as SubprocessError {
      try? await channel.close()
      throw launch.failure(error)
    }
  }
}
