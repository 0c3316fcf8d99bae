// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// An ssh that does not do what it should.
extension LiveCaseTests {
  /// Seconds that a target may take to connect.
  private static let patience = 6

  /// Starts an origin whose ssh is a script. Every process of it writes its id to the file that is handed to `body`.
  private func withSSH(
    _ host: Host, _ script: String, _ body: @Sendable @escaping (_ a: Instance, _ pids: String) async throws -> Void
  ) async throws {
    let directory = try temporaryDirectory("ssh")
    defer { remove(directory) }
    let program = directory + "/ssh"
    let pids = directory + "/pids"
    try write("#!/bin/sh\necho $$ >>\(pids)\n\(script)\n", to: program, mode: 0o755)
    let environment = ["FLUX_SSH": program, "FLUX_DELEGATE_CONNECT_TIMEOUT": "\(Self.patience)"]
    try await withInstance(host, name: "a", environment: environment) { a in
      let loaded = try await a("jobtap", "load", Build.plugin)
      try #require(loaded.code == 0, "\(loaded)")
      _ = try await a.agent()
      try await body(a, pids)
    }
    try await expectGone(read(pids))
  }

  private func read(_ path: String) async throws -> [pid_t] {
    try await run(["cat", path]).lines.compactMap { pid_t($0) }
  }

  private func write(_ text: String, to path: String, mode: mode_t) throws {
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode)
    try #require(file >= 0)
    defer { close(file) }
    let written = text.withCString { Glibc.write(file, $0, strlen($0)) }
    try #require(written == text.utf8.count)
  }

  private static let far = "ssh://nowhere/tmp/far"

  /// It hangs: jobs at home do not wait for it. The delegated one fails with words once it has been tried long enough, and is cancelled as soon as
  /// the try that is under way is over. Nothing is left of it.
  @Test(arguments: Host.available) func sshHangs(_ host: Host) async throws {
    try await withSSH(host, "exec sleep 1000") { a, pids in
      let failing = try await a("submit", "-S", "system.delegate=\(Self.far)", "true").out.trimmed
      let handed = try await a("submit", "--dependency=delegate:\(Self.far)", "true").out.trimmed
      let cancelled = try await submit(a, "delegate::select", "-S", "system.delegate=\(Self.far)", "true")
      _ = try await eventually {
        try await run(["cat", pids])
      } until: {
        !$0.out.isEmpty
      }
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
      let answer = try await a("cancel", cancelled)
      #expect(answer.code == 0, "\(answer)")
      // Nobody has waited for ssh, which is tried three times.
      let active = try await a("jobs", "-n", "-o", "{id}")
      #expect(active.lines.contains(failing), "\(active)")
      let log = try await eventlog(a, cancelled)
      #expect(log.out.contains("exception type=\"cancel\" severity=0") && log.out.contains(" clean"), "\(log)")
      let words = "\(Self.far): accepted the connection and then said nothing for \(Self.patience) s"
      let told = try await eventually {
        try await run([host == .embedded ? Build.executable : "flux", "dmesg"], uri: a.uri)
      } until: {
        $0.out.contains(words)
      }
      #expect(told.out.contains(words), "\(told)")
      for id in [failing, handed] {
        // Three tries, and two pauses.
        let log = try await eventually(within: .seconds(240)) {
          try await a("job", "eventlog", id)
        } until: {
          $0.out.contains(" clean")
        }
        #expect(log.out.contains("exception type=\"DelegationFailure\" severity=0 note=\"\(words)"), "\(log)")
      }
    }
  }

  /// The plugin is removed, and the agent ended, while ssh hangs: it does not stay behind.
  @Test(arguments: Host.available) func sshIsEndedWithThePlugin(_ host: Host) async throws {
    try await withSSH(host, "exec sleep 1000") { a, pids in
      _ = try await a("submit", "-S", "system.delegate=\(Self.far)", "true")
      _ = try await eventually {
        try await run(["cat", pids])
      } until: {
        !$0.out.isEmpty
      }
      let agent = try await a.agent()
      _ = try await a("jobtap", "remove", "delegate.so")
      try await expectGone(try await read(pids) + [agent])
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
      _ = try await a("cancel", "--all")
    }
  }

  /// It writes garbage, without an end: the job fails at once, with words, and home does not notice.
  @Test(arguments: Host.available) func sshWritesGarbage(_ host: Host) async throws {
    try await withSSH(host, "exec yes 'Welcome to the machine'") { a, _ in
      let id = try await a("submit", "-S", "system.delegate=\(Self.far)", "true").out.trimmed
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
      let log = try await eventlog(a, id)
      #expect(log.out.contains("note=\"\(Self.far): what answers is not a Flux instance"), "\(log)")
      #expect(log.out.contains("its first byte is 87"), "\(log)")
    }
  }
}
