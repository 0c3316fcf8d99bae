// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

/// Whatever an owner does to a job at its origin reaches it where it runs.
@Suite(.serialized) struct ControlTests {
  /// A program that tells which signal it got.
  private static let trap =
    "trap 'echo got usr1; exit 7' USR1; trap 'echo got usr2' USR2; echo set; while :; do sleep 0.05; done"

  @Test(arguments: Host.available) func signals(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let submitted = try await a("submit", "-S", "system.delegate=bee", "sh", "-c", Self.trap)
      let id = submitted.out.trimmed
      // The program has to have set its traps, and to have had the first signal before the second one.
      for (words, signal) in [("set", "USR2"), ("got usr2", "USR1")] {
        let written = try await eventually {
          try await a("job", "eventlog", "-p", "output", id)
        } until: {
          $0.out.contains(words)
        }
        try #require(written.out.contains(words), "\(written)")
        let killed = try await a("job", "kill", "-s", signal, id)
        #expect(killed.code == 0, "\(killed)")
      }
      let attached = try await a("job", "attach", id)
      #expect(attached.code == 7 && attached.out == "set\ngot usr2\ngot usr1\n", "\(attached)")
    }
  }

  /// Standard input, text and bytes, to its end.
  @Test(arguments: Host.available) func standardInput(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      for text in ["hello\n", "no newline", (1...20000).map { "line \($0)\n" }.joined()] {
        let ran = try await a("run", "-S", "system.delegate=bee", "cat", input: text)
        #expect(ran.code == 0 && ran.out == text, "\(ran.code) \(ran.out.count) \(ran.err)")
      }
    }
  }

  /// A held job is held there; released here it runs there. A change of its urgency arrives.
  @Test(arguments: Host.available) func urgency(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let submitted = try await a("submit", "--urgency=hold", "-S", "system.delegate=bee", "true")
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "delegate::submit")
      let held = try await eventually {
        try await b("jobs", "-n", "-o", "{urgency} {state}")
      } until: {
        !$0.out.isEmpty
      }
      #expect(held.out.trimmed == "0 SCHED", "\(held)")
      _ = try await a("job", "urgency", id, "5")
      let log = try await eventlog(a, id)
      #expect(log.out.contains("finish status=0"), "\(log)")
      let there = try await b("jobs", "-a", "-n", "-o", "{urgency}")
      #expect(there.out.trimmed == "5", "\(there)")
    }
  }

  /// A longer time limit, given here while the job runs, counts there; so does a shorter one.
  @Test(arguments: Host.available) func timeLimit(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let submitted = try await a("submit", "-t", "600s", "-S", "system.delegate=bee", "sleep", "1000")
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      try await shorten(a, id)
      let log = try await eventlog(a, id)
      #expect(log.out.contains("type=\"timeout\""), "\(log)")
      let here = try await ending(a)
      let there = try await ending(b)
      #expect(here == there && here.contains("TO"), "\(here) \(there)")
    }
  }

  /// Before anything was sent the new limit travels with the job.
  @Test(arguments: Host.available) func timeLimitOfAWaitingJob(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let latch = Latch()
      defer { latch.remove() }
      let first = try await a("submit", "sh", "-c", latch.wait)
      let submitted = try await a(
        "submit", "--dependency=afterany:\(first.out.trimmed)", "-t", "60s", "-S", "system.delegate=bee", "true")
      let id = submitted.out.trimmed
      let update: JSON = ["id": try JobID(parsing: id).json, "updates": ["attributes.system.duration": 120.0]]
      _ = try await ask(a, "job-manager.update", update)
      try latch.open()
      _ = try await eventlog(a, id)
      let there = try await b("jobs", "-a", "-n", "-o", "{duration}")
      #expect(there.out.trimmed == "120.0", "\(there)")
    }
  }

  /// Cancelled while the agent can do nothing, and is killed then: the next one makes sure that nothing is left at the target. Until it
  /// has, the job is not gone from home.
  @Test(arguments: Host.available) func cancelledWithoutAnAgent(_ host: Host) async throws {
    try await withPair(host) { a, b in
      for wait in ["delegate::submit", "start"] {
        let submitted = try await a("submit", "-S", "system.delegate=bee", "sleep", "1000")
        let id = submitted.out.trimmed
        _ = try await a("job", "wait-event", "-t", "120", id, wait)
        let agent = try await a.agent()
        #expect(kill(agent, SIGSTOP) == 0)
        let cancelled = try await a("cancel", id)
        #expect(cancelled.code == 0, "\(cancelled)")
        try await Task.sleep(for: .milliseconds(300))
        let kept = try await a("jobs", "-n", "-o", "{state}")
        #expect(kept.out.trimmed == "CLEANUP", "\(kept)")
        #expect(kill(agent, SIGKILL) == 0)
        let log = try await eventlog(a, id)
        // One that runs is in its prolog, another one gets an epilog.
        #expect(log.out.contains("epilog-finish") || log.out.contains("prolog-finish"), "\(log)")
        let there = try await eventually {
          try await b("jobs", "-n")
        } until: {
          $0.lines.isEmpty
        }
        #expect(there.lines.isEmpty, "\(there)")
      }
    }
  }

  /// What the remote job says of itself is in the eventlog at home, once.
  @Test(arguments: Host.available) func memos(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let second = try await a("submit", "-S", "system.delegate=bee", "sleep", "1000").out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", second, "start")
      let remote = try await b("job", "last").out.trimmed
      _ = try await ask(b, "job-manager.memo", ["id": try JobID(parsing: remote).json, "memo": ["k": "v"]])
      let memo = try await a("job", "wait-event", "-t", "120", second, "memo")
      #expect(memo.out.contains("k=\"v\""), "\(memo)")
      // Another agent is told of it again.
      #expect(kill(try await a.agent(), SIGKILL) == 0)
      _ = try await a("cancel", second)
      let log = try await eventlog(a, second)
      #expect(log.lines.filter { $0.contains(" memo ") }.count == 1, "\(log)")
    }
  }

  /// What is shown of a job while it waits and runs.
  @Test(arguments: Host.available) func listings(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let submitted = try await a("submit", "-N2", "-S", "system.delegate=bee", "sleep", "1000")
      let id = submitted.out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      let shown = try await eventually {
        try await a("jobs", "-n", "-o", "{user.delegate.target} {nnodes} {nodelist} {status_abbrev}")
      } until: {
        $0.out.hasPrefix("bee")
      }
      let there = try await b("jobs", "-n", "-o", "bee {nnodes} {nodelist} {status_abbrev}")
      #expect(shown.out == there.out && shown.out.hasPrefix("bee 2 "), "\(shown) \(there)")
      _ = try await a("cancel", id)
      _ = try await ending(b)
      // Of a job that is over at once as well.
      _ = try await a("run", "-S", "system.delegate=bee", "true")
      let brief = try await eventually {
        try await a("jobs", "-a", "-n", "-c1", "-o", "{user.delegate.target} {status_abbrev}")
      } until: {
        $0.out == "bee CD\n"
      }
      #expect(brief.out == "bee CD\n", "\(brief)")
    }
  }

  /// Gives a running job so short a time that it ends soon, however slow the machine is.
  private func shorten(_ instance: Instance, _ id: String) async throws {
    for seconds in [2.0, 10, 60] {
      let update: JSON = [
        "id": try JobID(parsing: id).json, "updates": ["attributes.system.duration": .double(seconds)],
      ]
      do {
        _ = try await ask(instance, "job-manager.update", update)
        return
      } catch let error as RPCError { #expect("\(error)".contains("in the past")) }
    }
  }
}
