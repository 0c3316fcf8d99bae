// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

/// A script in the place of ssh.
struct FakeSSH: Sendable {
  /// Where the script is, and what it leaves behind.
  let directory: TemporaryDirectory

  /// Relays between its standard input and output and the socket that its last argument names, as `flux relay` does.
  static let relay = """
    exec python3 -S -c '
    import os, select, socket, sys
    s = socket.socket(socket.AF_UNIX)
    s.connect(sys.argv[-1])
    while True:
      for f in select.select([0, s], [], [])[0]:
        data = os.read(0 if f == 0 else s.fileno(), 65536)
        if not data: sys.exit(0)
        if f == 0: s.sendall(data)
        else:
          while data: data = data[os.write(1, data):]
    ' "$@"
    """
  /// Whether there is a Python to run it.
  static var canRelay: Bool {
    let search = getenv("PATH").map { String(cString: $0) } ?? ""
    return search.split(separator: ":").contains { access("\($0)/python3", X_OK) == 0 }
  }

  /// Makes a script of these lines of `sh`, runs `body`, and checks that no process of the script is left.
  @discardableResult
  static func with<Result: Sendable>(
    _ lines: String, _ body: @Sendable (FakeSSH) async throws -> Result
  ) async throws -> Result {
    try await TemporaryDirectory.with { directory in
      let text = "#!/bin/sh\necho $$ >>'\(directory.path)/pids'\ncd '\(directory.path)'\n\(lines)\n"
      try directory.write(text, to: "ssh", mode: 0o755)
      let fake = FakeSSH(directory: directory)
      let result = try await body(fake)
      let processes = fake.processes
      #expect(!processes.isEmpty, "ssh was not started")
      for process in processes { #expect(kill(process, 0) == -1 && errno == ESRCH, "ssh is left behind") }
      return result
    }
  }

  /// A configuration with which it is used.
  var configuration: FluxConnection.Configuration {
    var configuration = FluxConnection.Configuration()
    configuration.environment = ["FLUX_SSH": "\(directory.path)/ssh", "FLUX_SSH_RCMD": "flux"]
    return configuration
  }

  /// Connects through it.
  func connect<Result: Sendable>(
    to path: String = "/far/local-0", timeout: Duration = .seconds(30), isInteractive: Bool = true,
    keepsProcessGroup: Bool = false, _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    var configuration = configuration
    configuration.sshTimeout = timeout
    configuration.isInteractive = isInteractive
    configuration.keepsProcessGroup = keepsProcessGroup
    return try await FluxConnection.withConnection(
      to: FluxURI(parsing: "ssh://far\(path)"), configuration: configuration, logger: Twin.logger, body)
  }

  /// Fails to connect through it.
  func fail(timeout: Duration = .seconds(30), at location: SourceLocation = #_sourceLocation) async -> ConnectionError?
  {
    await #expect(throws: ConnectionError.self, sourceLocation: location) {
      try await connect(timeout: timeout) { _ in Issue.record("connected", sourceLocation: location) }
    }
  }

  /// The processes that it was.
  private var processes: [pid_t] {
    (directory.read("pids") ?? "").split(separator: "\n").compactMap { pid_t($0) }
  }
}
