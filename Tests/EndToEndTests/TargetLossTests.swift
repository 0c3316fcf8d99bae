// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// The target, or the way to it, is lost while jobs are there: home does not suffer, nothing is lost, and nothing is run again.
@Suite(.serialized) struct TargetLossTests {
  private static let script = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done; exit 5"
  private static let lines = (1...8).map { "line \($0)\n" }.joined()

  /// The ssh and its relay are killed in the middle of a job: it is followed again over another one, its output is whole.
  @Test(.enabled(if: SSHServer.isThere), arguments: Host.available) func theRelayIsKilled(_ host: Host) async throws {
    try await SSHServer.withServer { server in
      let environment = server.environment.merging(["PATH": Build.directory + ":" + currentPath]) { $1 }
      try await withInstance(host, name: "a", environment: environment) { a in
        try await withInstance(host, name: "b", environment: environment) { b in
          try await configure(a, ["far": server.uri(of: b.uri)])
          let loaded = try await a("jobtap", "load", Build.plugin)
          try #require(loaded.code == 0, "\(loaded)")
          let submitted = try await a("submit", "-S", "system.delegate=far", "sh", "-c", Self.script)
          let id = submitted.out.trimmed
          let started = try await a("job", "wait-event", "-t", "120", id, "start")
          #expect(started.code == 0, "\(started)")
          try await Task.sleep(for: .milliseconds(700))
          let killed = try await run(["pkill", "-9", "-P", "\(try await a.agent())"])
          #expect(killed.code == 0, "no ssh was there to kill: \(killed)")
          let attached = try await a("job", "attach", id)
          #expect(attached.code == 5 && attached.out == Self.lines, "\(attached)")
          let there = try await b("jobs", "-a", "-n")
          #expect(there.lines.count == 1, "\(there)")
        }
      }
    }
  }

  /// The target's broker is killed while a job runs there: the origin shows that nobody knows how it fares, and serves everybody else.
  @Test(arguments: Host.available) func theTargetIsKilled(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let submitted = try await a("submit", "-S", "system.delegate=bee", "sleep", "1000")
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      let pid = try await b("getattr", "broker.pid")
      #expect(kill(try #require(pid_t(pid.out.trimmed)), SIGKILL) == 0)
      try await expectUnknown(a, "local://")
      // Whoever does not want to wait for it cancels it: in the end it is gone from home.
      _ = try await a("cancel", id)
      let log = try await eventually(within: .seconds(240)) {
        try await a("job", "eventlog", id)
      } until: {
        $0.out.contains(" clean")
      }
      #expect(log.out.contains(" clean"), "\(log)")
    }
  }

  /// The target stops for a while, as under a heavy load, with jobs pending and running.
  @Test(arguments: Host.available) func theTargetStalls(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let submitted = try await a("submit", "-S", "system.delegate=bee", "sh", "-c", Self.script)
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      let pid = try #require(pid_t(try await b("getattr", "broker.pid").out.trimmed))
      #expect(kill(pid, SIGSTOP) == 0)
      let second = try await a("submit", "-S", "system.delegate=bee", "true")
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
      try await Task.sleep(for: .seconds(2))
      #expect(kill(pid, SIGCONT) == 0)
      let attached = try await a("job", "attach", id)
      #expect(attached.code == 5 && attached.out == Self.lines, "\(attached)")
      let log = try await eventlog(a, second.out.trimmed)
      #expect(log.out.contains("finish status=0"), "\(log)")
    }
  }
}
