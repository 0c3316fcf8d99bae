// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Logging
import Testing

/// What happens to instances that are in use: they are shut down, changed and cut off, with delegated jobs wherever they may be.
@Suite(.serialized) struct LiveCaseTests {
  // MARK: The target is shut down

  /// Whatever way an instance ends in an orderly manner.
  enum Shutdown: String, CaseIterable, CustomStringConvertible {
    case command
    case endOfItsProgram

    var description: String { rawValue }
  }

  private static let shutdowns: [(Host, Shutdown)] = Host.available.flatMap { host in
    // The embedded instance has no such command.
    (host == .embedded ? [.endOfItsProgram] : Shutdown.allCases).map { (host, $0) }
  }

  /// A job that runs there is cancelled by that, which is said at home. What waits there is gone with it, or not: nobody can know, and so it is
  /// shown, until its owner has had enough of it.
  @Test(arguments: shutdowns) func theTargetIsShutDown(_ host: Host, _ shutdown: Shutdown) async throws {
    try await withPair(host) { a, b in
      let running = try await submit(a, "start", "-N2", "--exclusive", "-S", "system.delegate=bee", "sleep", "1000")
      let pending = try await submit(a, "delegate::submit", "-N2", "-S", "system.delegate=bee", "true")
      try await end(b, shutdown)
      let log = try await eventlog(a, running)
      #expect(log.out.contains("exception type=\"DelegationFailure\" severity=1"), "\(log)")
      #expect(log.out.contains("bee: the job's end there is not its own doing: cancel"), "\(log)")
      #expect(log.out.contains("exception type=\"cancel\" severity=0 note=\"bee"), "\(log)")
      let status = try await a("jobs", "-a", "-n", "-o", "{status} {returncode}", running)
      #expect(status.out == "CANCELED 143\n", "\(status)")
      if host == .embedded {
        // It keeps nothing on disk: what waits there is cancelled as well.
        let log = try await eventlog(a, pending)
        #expect(log.out.contains("note=\"bee: the instance is shutting down\""), "\(log)")
      } else {
        let shown = try await eventually {
          try await a("jobs", "-n", "-o", "{status_abbrev} {user.delegate.unknown}")
        } until: {
          $0.out.contains("local://")
        }
        #expect(shown.out == "D \(b.uri): its job manager has ended the journal\n", "\(shown)")
      }
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
      // Half a minute: once is enough.
      guard host == .flux, shutdown == .command else { return }
      let cancelled = try await a("cancel", pending)
      #expect(cancelled.code == 0, "\(cancelled)")
      let end = try await eventually(within: .seconds(240)) {
        try await a("job", "eventlog", pending)
      } until: {
        $0.out.contains(" clean")
      }
      #expect(end.out.contains("exception type=\"cancel\" severity=0") && end.out.contains(" clean"), "\(end)")
    }
  }

  private func end(_ instance: Instance, _ shutdown: Shutdown) async throws {
    switch shutdown {
    case .command:
      let ended = try await run(["flux", "shutdown", "--quiet"], uri: instance.uri)
      #expect(!ended.description.contains("longer than"), "\(ended)")
    case .endOfItsProgram:
      let broker = try await instance("getattr", "broker.pid").out.trimmed
      let program = try await run(["pgrep", "-P", broker, "-x", "cat"])
      #expect(kill(try #require(pid_t(program.out.trimmed), "\(program)"), SIGTERM) == 0)
    }
  }

  // MARK: Cancelled at once

  private static let hastes: [(Host, Bool)] = Host.available.filter { $0 != .fluxWithOurVerbs }.flatMap {
    [($0, true), ($0, false)]
  }

  /// A hundred jobs, each cancelled 0 to 30 ms after its submission. At a target that has no resources for them none ever runs, at one that has
  /// none goes on.
  @Test(arguments: hastes) func cancelledAtOnce(_ host: Host, _ isBusy: Bool) async throws {
    try await withPair(host) { a, b in
      let blocker = isBusy ? try await submit(b, "start", "-N2", "--exclusive", "sleep", "1000") : nil
      let ids = try await Self.submitAndCancel(100, a)
      let ended = try await eventually(within: .seconds(240)) {
        try await a("jobs", "-a", "-n", "-o", "{state} {status}")
      } until: {
        $0.lines.count == ids.count && $0.lines.allSatisfy { $0 == "INACTIVE CANCELED" }
      }
      #expect(ended.lines.count == 100 && ended.lines.allSatisfy { $0 == "INACTIVE CANCELED" }, "\(ended)")
      if let blocker {
        // A copy that were left would run now.
        _ = try await b("cancel", blocker)
        _ = try await eventlog(b, blocker)
      }
      let there = try await eventually(within: .seconds(240)) {
        try await b("jobs", "-a", "-n", "-o", "{name} {status} {runtime}")
      } until: {
        $0.lines.allSatisfy { $0.contains(" CANCELED ") }
      }
      let copies = there.lines.filter { !$0.hasPrefix("sleep") }
      #expect(copies.allSatisfy { $0.contains(" CANCELED ") }, "\(there)")
      if isBusy { #expect(copies.allSatisfy { $0.hasSuffix(" 0.0") }, "\(there)") }
    }
  }

  /// Submits and cancels over one connection, one job after the other.
  private static func submitAndCancel(_ count: Int, _ instance: Instance) async throws -> [JobID] {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    return try await FluxConnection.withConnection(to: FluxURI(parsing: instance.uri), logger: logger) { connection in
      var ids: [JobID] = []
      for number in 0..<count {
        var jobspec = try Jobspec(
          Jobspec.Request(command: ["yes"], environment: [("PATH", "/usr/bin:/bin")], cwd: "/tmp", dependencies: []))
        jobspec.set(attribute: "delegate", to: "bee")
        let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
        let answer = try await connection.rpc(
          "job-ingest.submit", ["J": .string(signed.text), "urgency": 16, "flags": 0])
        let id = try #require(JobID(answer["id"]))
        // The delay is what varies: there is nothing to wait for.
        try await Task.sleep(for: .microseconds(number * 30_000 / count))
        try await connection.rpc(
          "job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0, "note": ""])
        ids.append(id)
      }
      return ids
    }
  }

  // MARK: Urgency

  /// While it waits for resources there, the job's urgency there is that of home, hold included.
  @Test(arguments: Host.available) func urgencyOfAWaitingJob(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let blocker = try await submit(b, "start", "-N2", "--exclusive", "sleep", "1000")
      let id = try await submit(a, "delegate::submit", "-S", "system.delegate=bee", "true")
      for urgency in ["7", "hold", "20"] {
        let changed = try await a("job", "urgency", id, urgency)
        #expect(changed.code == 0, "\(changed)")
        let wanted = urgency == "hold" ? "0" : urgency
        let there = try await eventually {
          try await b("jobs", "-n", "-f", "pending", "-o", "{urgency} {state}")
        } until: {
          $0.out == "\(wanted) SCHED\n"
        }
        #expect(there.out == "\(wanted) SCHED\n", "\(there)")
      }
      _ = try await b("cancel", blocker)
      let log = try await eventlog(a, id)
      #expect(log.out.contains("finish status=0"), "\(log)")
    }
  }

  /// That of a job which runs cannot be changed, and home says so as it does of any job.
  @Test(arguments: Host.available) func urgencyOfARunningJob(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let plain = try await submit(a, "start", "sleep", "1000")
      let id = try await submit(a, "start", "-S", "system.delegate=bee", "sleep", "1000")
      for urgency in ["7", "hold"] {
        let local = try await a("job", "urgency", plain, urgency)
        let refused = try await a("job", "urgency", id, urgency)
        #expect(refused.code == local.code && refused.code == 1, "\(refused) \(local)")
        #expect(refused.err == local.err.replacing(plain, with: id) && !refused.err.isEmpty, "\(refused) \(local)")
      }
      let there = try await b("jobs", "-n", "-o", "{urgency} {state}")
      #expect(there.out == "16 RUN\n", "\(there)")
      let log = try await a("job", "eventlog", id)
      #expect(!log.out.contains("urgency urgency"), "\(log)")
    }
  }

  // MARK: The plugin is removed for good

  /// Nobody mirrors the jobs any more that run at the target: home does its work all the same. Should the plugin be loaded again after all, each
  /// has its end.
  @Test(arguments: Host.available) func thePluginIsGone(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let latch = Latch()
      defer { latch.remove() }
      let script = "\(latch.wait); echo over; exit 5"
      let ending = try await submit(a, "start", "-n1", "-S", "system.delegate=bee", "sh", "-c", script)
      let going = try await submit(a, "start", "-n1", "-S", "system.delegate=bee", "sleep", "1000")
      let cancelled = try await submit(a, "start", "-n1", "-S", "system.delegate=bee", "sleep", "1000")
      let agent = try await a.agent()
      _ = try await a("jobtap", "remove", "delegate.so")
      try await expectGone([agent])

      let home = try await a("run", "-N2", "echo", "home")
      #expect(home.code == 0 && home.out == "home\nhome\n", "\(home)")
      let asked = try await a("cancel", cancelled)
      #expect(asked.code == 0, "\(asked)")
      // One ends there meanwhile.
      let remote = try await b("jobs", "-n", "-o", "{id.f58} {name}").lines.first { $0.hasSuffix(" sh") } ?? ""
      try latch.open()
      let ended = try await b("job", "attach", String(remote.prefix { $0 != " " }))
      #expect(ended.code == 5, "\(ended)")
      // The documented limit: what home shows of them stands still.
      let shown = try await a("jobs", "-n", "-o", "{id.f58} {state}")
      #expect(
        Set(shown.lines) == ["\(ending) RUN", "\(going) RUN", "\(cancelled) CLEANUP"], "\(shown)")

      _ = try await a("jobtap", "load", Build.plugin)
      let attached = try await a("job", "attach", ending)
      #expect(attached.code == 5 && attached.out == "over\n", "\(attached)")
      let log = try await eventlog(a, cancelled)
      #expect(log.out.contains("exception type=\"cancel\"") && log.out.contains("finish status=36608"), "\(log)")
      let left = try await b("jobs", "-n", "-o", "{name}")
      #expect(left.out == "sleep\n", "\(left)")
      _ = try await a("cancel", going)
      _ = try await eventlog(a, going)
    }
  }

  /// An instance that is shut down waits for all its jobs to end, and so for these: until the plugin is there again.
  @Test(.enabled(if: Flux.isThere)) func theOriginOfAGonePluginIsShutDown() async throws {
    try await withPair(.flux) { a, b in
      _ = try await submit(a, "start", "-S", "system.delegate=bee", "sleep", "1000")
      _ = try await a("jobtap", "remove", "delegate.so")
      try await withThrowingTaskGroup(of: Output.self) { group in
        group.addTask { try await run(["flux", "shutdown", "--quiet"], uri: a.uri) }
        let waiting = try await eventually {
          try await a("jobs", "-n", "-o", "{state}")
        } until: {
          $0.out == "CLEANUP\n"
        }
        #expect(waiting.out == "CLEANUP\n", "\(waiting)")
        let loaded = try await a("jobtap", "load", Build.plugin)
        #expect(loaded.code == 0, "\(loaded)")
        let ended = try await group.next()
        #expect(ended?.code != -1, "\(String(describing: ended))")
      }
      let there = try await b("jobs", "-a", "-n", "-o", "{status}")
      #expect(there.out == "CANCELED\n", "\(there)")
    }
  }
}

// MARK: Helpers

/// Submits a job and waits for an event of it. Returns its id.
func submit(_ instance: Instance, _ event: String, _ words: String...) async throws -> String {
  let submitted = try await run([instance.host.program, "submit"] + words, uri: instance.uri)
  let id = submitted.out.trimmed
  try #require(submitted.code == 0, "\(submitted)")
  let happened = try await instance("job", "wait-event", "-t", "120", id, event)
  try #require(happened.code == 0, "\(happened)")
  return id
}

/// Expects that processes have ended, or do so soon.
func expectGone(_ pids: [pid_t]) async throws {
  let left = try await eventually {
    Output(code: 0, out: pids.filter { kill($0, 0) == 0 }.map(String.init).joined(separator: "\n"), err: "")
  } until: {
    $0.out.isEmpty
  }
  #expect(left.out.isEmpty, "still there: \(left)")
}
