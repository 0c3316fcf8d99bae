// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Logging
import NIOCore
import Subprocess

extension FluxConnection {
  /// Runs ssh with one half of a socket pair as its standard input and output, and `body` on the other half.
  static func withSSH<Result: Sendable>(
    to uri: FluxURI, configuration: Configuration, logger: Logger,
    _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    let launch = try SSHLaunch(to: uri, configuration: configuration)
    let connection: FluxConnection
    do {
      connection = try await connect(
        socket: launch.near, peer: uri.description, configuration: configuration, logger: logger)
    } catch {
      launch.closeFarHalf()
      throw error
    }
    var options = PlatformOptions()
    options.createSession = !configuration.isInteractive && !configuration.keepsProcessGroup
    options.teardownSequence = SSHLaunch.teardown
    let environment: Subprocess.Environment =
      configuration.isInteractive ? .inherit : .inherit.updating(["SSH_ASKPASS_REQUIRE": "never"])
    do {
      let outcome = try await Subprocess.run(
        launch.executable, arguments: launch.arguments, environment: environment, platformOptions: options,
        input: .fileDescriptor(launch.input, closeAfterSpawningProcess: true),
        output: .fileDescriptor(launch.output, closeAfterSpawningProcess: true), error: .sequence
      ) { execution in
        let outcome = await serve(connection, uri, execution.standardError, configuration, body)
        await execution.teardown(using: SSHLaunch.teardown)
        return outcome
      }
      return try outcome.closureResult.get()
    } catch let error as SubprocessError {
      await connection.close()
      throw launch.failure(error)
    }
  }

  /// Runs `body` while ssh's standard error is read; ssh's own words are the best account of what went wrong.
  private static func serve<Result: Sendable>(
    _ connection: FluxConnection, _ uri: FluxURI, _ standardError: SubprocessOutputSequence,
    _ configuration: Configuration, _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async -> Swift.Result<Result, any Error> {
    await withTaskGroup(of: [UInt8]?.self) { group in
      group.addTask { await tail(of: standardError) }
      do {
        let result = try await run(connection, within: configuration.sshTimeout, body)
        group.cancelAll()
        return .success(result)
      } catch let error as ConnectionError where error.code == .closed || error.code == .notFlux {
        // ssh has ended, or is about to: what it said is there within moments, or not at all.
        group.addTask {
          try? await Task.sleep(for: .seconds(1))
          return nil
        }
        let words = await group.next() ?? nil
        group.cancelAll()
        return .failure(explain(error, uri, words ?? []))
      } catch {
        group.cancelAll()
        return .failure(error)
      }
    }
  }

  private static func explain(_ error: ConnectionError, _ uri: FluxURI, _ words: [UInt8]) -> ConnectionError {
    let text = String(decoding: words, as: UTF8.self).split(whereSeparator: \.isNewline).joined(separator: "; ")
    if text.isEmpty { return error }
    // What came instead of a greeting is as good an account as what ssh has said beside it.
    if error.code == .notFlux { return ConnectionError(.notFlux, "\(error.message); ssh: \(text)", cause: error) }
    let isNetwork = networkFailures.contains(where: text.contains)
    return ConnectionError(isNetwork ? .network : .ssh, "\(uri): ssh: \(text)", cause: error)
  }

  /// ssh's words for what may pass by itself.
  private static let networkFailures = [
    "Connection refused", "Connection timed out", "Connection reset", "Connection closed by", "No route to host",
    "Network is unreachable", "Temporary failure in name resolution",
  ]

  /// The last 4 KiB that a process writes, once it ends.
  private static func tail(of sequence: SubprocessOutputSequence) async -> [UInt8] {
    var tail: [UInt8] = []
    do {
      for try await buffer in sequence {
        buffer.withUnsafeBytes { tail.append(contentsOf: $0) }
        if tail.count > 8192 { tail.removeFirst(tail.count - 4096) }
      }
    } catch {}
    return tail.suffix(4096)
  }
}
