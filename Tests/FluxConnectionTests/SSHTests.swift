// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

/// Connections through ssh, with a script in its place.
@Suite(.timeLimit(.minutes(10))) struct SSHTests {
  /// Greets and sends back what comes: a request that comes back is refused, and its refusal is the answer.
  private static let echo = #"printf '\000'; exec cat"#

  private func ping(_ connection: FluxConnection) async throws {
    let error = await #expect(throws: RPCError.self) { try await connection.rpc("a.b") }
    #expect(error?.errnum == Errnum.notImplemented.rawValue)
  }

  @Test func bytesGoBothWays() async throws {
    try await FakeSSH.with(#"printf '%s\n' "$@" >arguments; \#(Self.echo)"#) { ssh in
      try await ssh.connect { connection in
        try await ping(connection)
        #expect(connection.peer == "ssh://far/far/local-0")
      }
      #expect(ssh.directory.read("arguments") == "far\nflux\nrelay\n/far/local-0\n")
    }
  }

  @Test(.enabled(if: FakeSSH.canRelay, "no python3 here")) func relay() async throws {
    try await FakeSSH.with(FakeSSH.relay) { ssh in
      try await Twin.with { session in
        for _ in 0..<2 {
          let request = try await session.next()
          try await session.answer(request, request.json())
        }
      } body: { twin in
        try await ssh.connect(to: twin.path) { connection in
          let long: JSON = ["text": .string(String(repeating: "x", count: 1 << 20))]
          try await #expect(connection.rpc("a.b", long) == long)
          try await #expect(connection.rpc("a.b", ["short": 1]) == ["short": 1])
        }
      }
    }
  }

  @Test func sshsOwnWords() async throws {
    try await FakeSSH.with("echo 'me@far: Permission denied (publickey).' >&2; echo again >&2; exit 255") { ssh in
      let error = await ssh.fail()
      #expect(error?.code == .ssh && error?.isTransient == false)
      #expect(error?.message == "ssh://far/far/local-0: ssh: me@far: Permission denied (publickey).; again")
    }
  }

  @Test func onlyTheEndOfManyWords() async throws {
    try await FakeSSH.with("i=0; while [ $i -lt 3000 ]; do echo noise >&2; i=$((i+1)); done; echo why >&2; exit 1") {
      ssh in
      let error = await ssh.fail()
      #expect(error?.code == .ssh && error?.message.hasSuffix("noise; why") == true)
      #expect((error?.message.utf8.count ?? 0) < 8192)
    }
  }

  @Test func anEndWithoutWords() async throws {
    try await FakeSSH.with("exit 255") { ssh in
      let error = await ssh.fail()
      #expect(error?.code == .closed)
    }
  }

  @Test func silence() async throws {
    try await FakeSSH.with("exec sleep 60") { ssh in
      let error = await ssh.fail(timeout: .milliseconds(300))
      #expect(error?.code == .silent && error?.isTransient == true)
    }
  }

  /// A child of ssh (a `ProxyCommand`) that keeps its standard error open.
  @Test func silenceWithAChild() async throws {
    let clock = ContinuousClock()
    let start = clock.now
    try await FakeSSH.with("sleep 25") { ssh in
      await #expect(ssh.fail(timeout: .milliseconds(300))?.code == .silent)
    }
    #expect(clock.now - start < .seconds(20))
  }

  @Test func silenceThatIsHardToEnd() async throws {
    let clock = ContinuousClock()
    let start = clock.now
    try await FakeSSH.with("trap '' TERM; exec sleep 25") { ssh in
      await #expect(ssh.fail(timeout: .milliseconds(300))?.code == .silent)
    }
    #expect(clock.now - start < .seconds(20))
  }

  @Test func noiseBeforeTheGreeting() async throws {
    for words in ["", "echo a warning >&2; "] {
      try await FakeSSH.with("\(words)echo Welcome to far; \(Self.echo)") { ssh in
        let error = await ssh.fail()
        #expect(error?.code == .notFlux && error?.message.contains("start-up files") == true)
        #expect(words.isEmpty || error?.message.hasSuffix("; ssh: a warning") == true, "\(error?.message ?? "")")
      }
    }
  }

  @Test func aProgramThatIsNotThere() async throws {
    try await TemporaryDirectory.with { directory in
      for name in ["missing", "directory-of-nothing/ssh", "not-executable"] {
        try directory.write("#!/bin/sh\n", to: "not-executable")
        var configuration = FluxConnection.Configuration()
        configuration.environment = ["FLUX_SSH": "\(directory.path)/\(name)"]
        let frozen = configuration
        let error = await #expect(throws: ConnectionError.self) {
          try await FluxConnection.withConnection(
            to: FluxURI(parsing: "ssh://far/s"), configuration: frozen, logger: Twin.logger
          ) { _ in Issue.record("connected") }
        }
        #expect(error?.code == .ssh && error?.message.contains("FLUX_SSH") == true)
        #expect(error?.message.contains("\(directory.path)/\(name)") == true)
      }
    }
  }

  @Test func theEndWhileRequestsWait() async throws {
    try await FakeSSH.with(#"printf '\000'; head -c 8 >/dev/null; echo 'Connection to far closed.' >&2"#) { ssh in
      let error = await #expect(throws: ConnectionError.self) {
        try await ssh.connect { try await $0.rpc("a.b") }
      }
      #expect(error?.code == .ssh && error?.message.hasSuffix("Connection to far closed.") == true)
    }
  }

  @Test func theBodysErrorIsThrown() async throws {
    struct Mine: Error {}
    try await FakeSSH.with(Self.echo) { ssh in
      await #expect(throws: Mine.self) { try await ssh.connect { _ in throw Mine() } }
    }
  }

  @Test func cancellation() async throws {
    try await FakeSSH.with(Self.echo) { ssh in
      let connected = Signal()
      let task = Task {
        try await ssh.connect { _ in
          connected.fire()
          try await Task.sleep(for: .seconds(3600))
        }
      }
      await connected.wait()
      task.cancel()
      await #expect(throws: CancellationError.self) { try await task.value }
    }
  }

  @Test(arguments: [(true, false), (false, false), (false, true)])
  func theTerminal(isInteractive: Bool, keepsProcessGroup: Bool) async throws {
    // The sixth field is the session: its leader has no terminal to ask on.
    let lines = #"""
      read -r _ _ _ _ _ session _ </proc/$$/stat
      [ $session = $$ ] && echo own >found || echo inherited >found
      echo "${SSH_ASKPASS_REQUIRE:-unset}" >>found
      """#
    try await FakeSSH.with("\(lines)\n\(Self.echo)") { ssh in
      try await ssh.connect(isInteractive: isInteractive, keepsProcessGroup: keepsProcessGroup, ping)
      let inherited = getenv("SSH_ASKPASS_REQUIRE").map { String(cString: $0) } ?? "unset"
      let words = [isInteractive || keepsProcessGroup ? "inherited" : "own", isInteractive ? inherited : "never"]
      #expect(ssh.directory.read("found") == words.map { $0 + "\n" }.joined())
    }
  }
}
