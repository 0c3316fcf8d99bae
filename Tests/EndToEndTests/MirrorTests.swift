// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// `-S system.delegate=...`: the origin job does what the remote one does.
@Suite(.serialized) struct MirrorTests {
  /// Status, return code and exception type are those at the target; so is what the job has written.
  @Test(arguments: Host.available) func endsAsThere(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let cases: [(words: [String], code: Int32, out: String)] = [
        (["sh", "-c", "echo out; echo err >&2"], 0, "out\n"), (["sh", "-c", "echo x; exit 3"], 3, "x\n"),
        (["sh", "-c", "kill -9 $$"], 137, ""), (["/no/such/command"], 127, ""),
        (["-t", "0.5s", "sleep", "30"], 142, ""), (["-n", "100", "true"], 1, ""),
        (["sh", "-c", #"printf '\377\376tail'"#], 0, ""),
      ]
      for (words, code, out) in cases {
        let ran = try await run([a.host.program, "run", "-S", "system.delegate=bee"] + words, uri: a.uri)
        let direct = try await run([b.host.program, "run"] + words, uri: b.uri)
        #expect(ran.code == direct.code, "\(words): \(ran) \(direct)")
        // The embedded instance ends a job at its time limit with SIGTERM, Flux with SIGALRM.
        if !(host == .embedded && code == 142) { #expect(ran.code == code, "\(words): \(ran)") }
        if !out.isEmpty { #expect(ran.out == out, "\(words): \(ran)") }
        #expect(ran.out == direct.out, "\(words): \(ran) \(direct)")
        let here = try await ending(a)
        let there = try await ending(b)
        #expect(here == there, "\(words)")
      }
    }
  }

  /// What a job prints within moments is whole, however much it is, and however long its lines.
  @Test(arguments: Host.available) func muchAtOnce(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let script = "head -c 6000000 /dev/zero | tr '\\0' x; echo"
      let ran = try await run([a.host.program, "run", "-S", "system.delegate=bee", "sh", "-c", script], uri: a.uri)
      #expect(ran.code == 0 && ran.out == String(repeating: "x", count: 6_000_000) + "\n", "\(ran.out.utf8.count)")
    }
  }

  @Test(arguments: Host.available) func theEventlogTellsTheWay(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let submitted = try await a("submit", "--urgency=20", "-S", "system.delegate=bee", "-N2", "-n2", "true")
      let id = submitted.out.trimmed
      let log = try await eventually {
        try await a("job", "eventlog", id)
      } until: {
        $0.out.contains(" clean")
      }
      let names = log.lines.map { $0.split(separator: " ")[1] }
      let expected = [
        "submit", "dependency-add", "validate", "delegate::select", "delegate::submit", "delegate::start", "alloc",
        "start",
        "finish", "release", "clean",
      ]
      #expect(names.filter { expected.contains(String($0)) }.map(String.init) == expected, "\(log)")
      #expect(log.out.contains("label=\"bee\""), "\(log)")
      #expect(log.out.contains("priority priority=20"), "\(log)")
    }
  }

  /// Cancelled here, it ends there; cancelled there, it ends here.
  @Test(arguments: Host.available) func cancellation(_ host: Host) async throws {
    try await withPair(host) { a, b in
      for canceller in [a, b] {
        let submitted = try await a("submit", "-S", "system.delegate=bee", "sleep", "1000")
        let id = submitted.out.trimmed
        _ = try await a("job", "wait-event", "-t", "120", id, "start")
        let running = try await canceller("jobs", "-n", "-o", "{id.f58}")
        let cancelled = try await canceller("cancel", running.out.trimmed)
        #expect(cancelled.code == 0, "\(cancelled)")
        for instance in [a, b] {
          let end = try await ending(instance)
          #expect(end.hasPrefix("INACTIVE CA"), "\(end)")
        }
      }
    }
  }

  /// Cancelled within moments of its submission, again and again: nothing is left running at the target.
  @Test(arguments: Host.available) func cancelledAtOnce(_ host: Host) async throws {
    try await withPair(host) { a, b in
      for turn in 0..<20 {
        let submitted = try await a("submit", "-S", "system.delegate=bee", "sleep", "1000")
        try await Task.sleep(for: .milliseconds(turn * 3))
        _ = try await a("cancel", submitted.out.trimmed)
      }
      for instance in [a, b] {
        let active = try await eventually {
          try await instance("jobs", "-n")
        } until: {
          $0.lines.isEmpty
        }
        #expect(active.lines.isEmpty, "\(active)")
      }
    }
  }

  /// The agent is killed while a job runs: its successor follows it to its end, and no output is lost or doubled.
  @Test(arguments: Host.available) func theAgentIsKilled(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let script = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.4; done; exit 5"
      let submitted = try await a("submit", "-S", "system.delegate=bee", "sh", "-c", script)
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      try await Task.sleep(for: .milliseconds(900))
      let first = try await a.agent()
      #expect(kill(first, SIGKILL) == 0)
      let attached = try await a("job", "attach", id)
      #expect(attached.code == 5, "\(attached)")
      #expect(attached.out == (1...8).map { "line \($0)\n" }.joined(), "\(attached)")
    }
  }

  /// What a configuration may not be is refused; what it may be counts at once.
  @Test(arguments: Host.available) func configurations(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let bad =
        host == .flux
        ? try await a("config", "load", input: "[[delegate]]\nuri = \"foo:///x\"\n")
        : try await a("config", "load", input: "{\"delegate\":[{\"uri\":\"foo:///x\"}]}")
      #expect(bad.code != 0 && bad.err.contains("unknown scheme 'foo'"), "\(bad)")
      let unknown = try await a("submit", "-S", "system.delegate=cee", "true")
      #expect(
        unknown.code != 0 && unknown.err.contains("there is no target 'cee': the configuration has bee"), "\(unknown)")
      try await configure(a, ["nowhere": "local:///tmp/fd-nowhere", "cee": b.uri])
      for value in ["cee", "assign:1", "assign:cee", "least_pending", b.uri] {
        let ran = try await a("run", "-S", "system.delegate=\(value)", "echo", value)
        #expect(ran.code == 0 && ran.out == "\(value)\n", "\(value): \(ran)")
      }
      let match = try await a("run", "-S", "system.delegate=shortest_match", "true")
      // Fluxion tells a matching time; other schedulers have none, and it is said so.
      let schedulers = host == .embedded ? "" : try await run(["flux", "module", "list"], uri: b.uri).out
      if schedulers.contains("sched-fluxion-resource") {
        #expect(match.code == 0, "\(match)")
      } else {
        #expect(match.code != 0 && match.err.contains("tells no matching time"), "\(match)")
      }
    }
  }

  /// Much output comes whole and in order. In short lines: each is an entry of the log, which is what costs a real Flux its time.
  @Test(arguments: Host.available) func muchOutput(_ host: Host) async throws {
    let lines = host == .embedded ? 300_000 : 60_000
    try await withPair(host) { a, _ in
      let ran = try await a("run", "-S", "system.delegate=bee", "seq", "1", "\(lines)")
      #expect(ran.code == 0, "\(ran.err)")
      #expect(ran.out == (1...lines).map { "\($0)\n" }.joined(), "\(ran.out.utf8.count) bytes")
    }
  }

  /// Many at once.
  @Test(arguments: Host.available) func inQuantity(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let count = 60
      let submitted = try await a("submit", "--cc=1-\(count)", "--wait", "-S", "system.delegate=bee", "true")
      #expect(submitted.code == 0, "\(submitted)")
      for instance in [a, b] {
        let done = try await instance("jobs", "-a", "-n", "-o", "{status}")
        #expect(done.lines.filter { $0.contains("COMPLETED") }.count == count, "\(instance.host): \(done)")
      }
    }
  }

  @Test(arguments: Host.available) func afterok(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let first = try await a("submit", "-S", "system.delegate=bee", "sleep", "0.3")
      let second = try await a(
        "run", "--dependency=afterok:\(first.out.trimmed)", "-S", "system.delegate=bee", "echo", "second")
      #expect(second.code == 0 && second.out == "second\n", "\(second)")
      // It was sent only when the first had ended.
      let log = try await a("job", "eventlog", first.out.trimmed)
      let ended = log.lines.first { $0.contains(" finish ") }.flatMap { Double($0.split(separator: " ")[0]) }
      let last = try await a("jobs", "-a", "-n", "-c1", "-o", "{id.f58}")
      let chosen = try await a("job", "eventlog", last.out.trimmed).lines.first { $0.contains(" delegate::select ") }
      let sent = chosen.flatMap { Double($0.split(separator: " ")[0]) }
      #expect(try #require(ended) <= #require(sent), "\(log)")
    }
  }
}
