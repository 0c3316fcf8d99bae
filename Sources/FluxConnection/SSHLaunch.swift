// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Subprocess
import SystemPackage

#if canImport(Glibc)
  import Glibc
#endif

/// What it takes to run ssh on one half of a socket pair, as Flux's connector does: the command line, and both halves.
struct SSHLaunch: Sendable {
  /// Where ssh is to go.
  let uri: FluxURI
  /// This process's half.
  let near: CInt
  /// ssh's half, for its standard input.
  let input: FileDescriptor
  /// ssh's half again, for its standard output.
  let output: FileDescriptor
  private let command: SSHCommand

  /// Makes the pair. Whoever takes `near`, and whoever runs ssh with the other two, closes them.
  init(to uri: FluxURI, configuration: FluxConnection.Configuration) throws {
    self.uri = uri
    let environment = configuration.environment ?? Self.inheritedEnvironment()
    command = SSHCommand(
      to: uri, environment: environment, localDirectories: Self.localDirectories(environment["PATH"] ?? ""))
    var pair: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw ConnectionError(.limit, "cannot make a socket pair for ssh: \(String(cString: strerror(errno)))")
    }
    near = pair[0]
    input = FileDescriptor(rawValue: pair[1])
    output = FileDescriptor(rawValue: fcntl(pair[1], F_DUPFD_CLOEXEC, 0))
  }

  /// The ssh program.
  var executable: Executable {
    command.program.contains("/") ? .path(FilePath(command.program)) : .name(command.program)
  }

  /// Its arguments.
  var arguments: Arguments { Arguments(command.arguments) }

  /// How an ssh that is no longer needed is ended.
  static var teardown: [TeardownStep] { [.send(signal: .terminate, allowedDurationToNextStep: .seconds(1))] }
  /// How an ssh is ended whose input has ended: what it still has, it may send. (To go on is no news to it.)
  static var patientTeardown: [TeardownStep] {
    [.send(signal: .resume, allowedDurationToNextStep: .seconds(2))] + teardown
  }

  /// Closes ssh's half, when ssh is not run after all.
  func closeFarHalf() {
    try? input.close()
    try? output.close()
  }

  /// Why ssh could not be run.
  func failure(_ error: SubprocessError) -> ConnectionError {
    ConnectionError(
      .ssh, "\(uri): cannot run \(command.program): \(error); set FLUX_SSH to the ssh program", cause: error)
  }

  private static func inheritedEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    for name in ["FLUX_SSH", "FLUX_SSH_RCMD", "PATH"] {
      if let value = getenv(name) { result[name] = String(cString: value) }
    }
    return result
  }

  /// Where this side has `flux` and `flux-delegate`: on a shared file system the far side has them there too.
  private static func localDirectories(_ path: String) -> [String] {
    var found: [String] = []
    let search = path.split(separator: ":").map(String.init)
    for program in ["flux", "flux-delegate"] {
      if let directory = search.first(where: { access("\($0)/\(program)", X_OK) == 0 }), !found.contains(directory) {
        found.append(directory)
      }
    }
    return found
  }
}
