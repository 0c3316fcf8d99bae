// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Logging
import NIOCore
import Subprocess
import SystemPackage

#if canImport(Glibc)
  import Glibc
#endif

extension FluxConnection {
  /// Runs ssh with one half of a socket pair as its standard input and output, and `body` on the other half.
  static func withSSH<Result: Sendable>(
    to uri: FluxURI, configuration: Configuration, logger: Logger,
    _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    let variables = configuration.environment ?? inheritedEnvironment()
    let command = SSHCommand(to: uri, environment: variables, localDirectories: localDirectories(variables))
    let (near, far) = try socketPair()
    let farOutput = FileDescriptor(rawValue: fcntl(far, F_DUPFD_CLOEXEC, 0))
    var options = PlatformOptions()
    options.createSession = !configuration.isInteractive
    options.teardownSequence = [.send(signal: .terminate, allowedDurationToNextStep: .seconds(1))]
    let environment: Subprocess.Environment =
      configuration.isInteractive ? .inherit : .inherit.updating(["SSH_ASKPASS_REQUIRE": "never"])
    let executable: Executable =
      command.program.contains("/") ? .path(FilePath(command.program)) : .name(command.program)
    let connection: FluxConnection
    do {
      connection = try await connect(socket: near, peer: uri.description, configuration: configuration, logger: logger)
    } catch {
      Glibc.close(far)
      try? farOutput.close()
      throw error
    }
    do {
      let outcome = try await Subprocess.run(
        executable, arguments: Arguments(command.arguments), environment: environment, platformOptions: options,
        input: .fileDescriptor(FileDescriptor(rawValue: far), closeAfterSpawningProcess: true),
        output: .fileDescriptor(farOutput, closeAfterSpawningProcess: true), error: .sequence
      ) { execution in
        let outcome = await serve(connection, uri, execution.standardError, configuration, body)
        try? execution.send(signal: .terminate)
        return outcome
      }
      return try outcome.closureResult.get()
    } catch let error as SubprocessError {
      await connection.close()
      throw ConnectionError(
        .ssh, "\(uri): cannot run \(command.program): \(error); set FLUX_SSH to the ssh program", cause: error)
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
    return ConnectionError(error.code == .notFlux ? .notFlux : .ssh, "\(uri): ssh: \(text)", cause: error)
  }

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

  private static func socketPair() throws -> (near: CInt, far: CInt) {
    var pair: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw ConnectionError(.limit, "cannot make a socket pair for ssh: \(String(cString: strerror(errno)))")
    }
    return (pair[0], pair[1])
  }

  private static func inheritedEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    for name in ["FLUX_SSH", "FLUX_SSH_RCMD", "PATH"] {
      if let value = getenv(name) { result[name] = String(cString: value) }
    }
    return result
  }

  /// Where this side has `flux` and `flux-delegate`.
  private static func localDirectories(_ environment: [String: String]) -> [String] {
    var found: [String] = []
    let search = (environment["PATH"] ?? "").split(separator: ":").map(String.init)
    for program in ["flux", "flux-delegate"] {
      if let directory = search.first(where: { access("\($0)/\(program)", X_OK) == 0 }), !found.contains(directory) {
        found.append(directory)
      }
    }
    return found
  }
}
