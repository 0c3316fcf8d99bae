// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// The origin, or a part of it, is started again. Only a real Flux has parts that can be, and a state on disk.
extension LiveCaseTests {
  // MARK: The job manager

  /// As Flux's own tests do it: what depends on the job manager is loaded again too, its scheduler among them.
  private func reloads(_ instance: Instance) async throws -> [String] {
    let modules = try await run(["flux", "module", "list"], uri: instance.uri)
    let scheduler = modules.out.contains("sched-fluxion-qmanager") ? "sched-fluxion-qmanager" : "sched-simple"
    return ["remove job-list", "reload job-manager", "load job-list", "reload -f \(scheduler)", "reload -f job-exec"]
  }

  /// One node's output is enough.
  fileprivate static let wide = "[ $FLUX_TASK_RANK != 0 ] || echo out; exit 4"

  /// The job manager is loaded anew, without the plugin at first, with jobs that run and wait at the target and two that are on their way there:
  /// each has one end, with its output.
  @Test(.enabled(if: Flux.isThere)) func theJobManagerIsReloaded() async throws {
    try await withPair(.flux) { a, b in
      let script = "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.3; done; exit 5"
      let lines = (1...8).map { "line \($0)\n" }.joined()
      let running = try await submit(
        a, "start", "-N1", "-n1", "--exclusive", "-S", "system.delegate=bee", "sh", "-c", script)
      let pending = try await submit(
        a, "delegate::submit", "-N2", "--exclusive", "-S", "system.delegate=bee", "sh", "-c", Self.wide)
      // The target does not answer: what is sent now is on its way.
      let broker = try #require(pid_t(try await b("getattr", "broker.pid").out.trimmed))
      #expect(kill(broker, SIGSTOP) == 0)
      let sent = try await submit(a, "delegate::select", "-S", "system.delegate=bee", "sh", "-c", "echo out; exit 3")
      let handed = try await submit(a, "delegate::select", "--dependency=delegate:bee", "true")
      for words in try await reloads(a) {
        let done = try await run(["flux", "module"] + words.split(separator: " ").map(String.init), uri: a.uri)
        #expect(done.code == 0, "\(words): \(done)")
      }
      let loaded = try await a("jobtap", "load", Build.plugin)
      #expect(loaded.code == 0, "\(loaded)")
      #expect(kill(broker, SIGCONT) == 0)
      for (id, code, out) in [(running, Int32(5), lines), (pending, 4, "out\n"), (sent, 3, "out\n")] {
        let attached = try await a("job", "attach", id)
        #expect(attached.code == code && attached.out == out, "\(attached)")
      }
      for id in [running, pending, sent, handed] {
        let log = try await eventlog(a, id)
        for name in [" finish ", " clean", " delegated ", " delegate::submit "] {
          #expect(log.lines.filter { $0.contains(name) }.count <= 1, "\(log)")
        }
      }
      let log = try await eventlog(a, handed)
      #expect(log.out.contains("exception type=\"DelegationSuccess\""), "\(log)")
      try await expectRuns(b, ["0", "3", "4", "5"])
      let home = try await a("run", "echo", "home")
      #expect(home.out == "home\n", "\(home)")
    }
  }

  /// Expects that just these jobs have run, by their exit codes. A copy that was sent again may be there beside: it was held, and never ran.
  private func expectRuns(_ target: Instance, _ codes: [String]) async throws {
    let there = try await eventually(within: .seconds(240)) {
      try await target("jobs", "-a", "-n", "-o", "{state} {status} {returncode} {runtime}")
    } until: {
      $0.lines.allSatisfy { $0.hasPrefix("INACTIVE") }
    }
    let words = there.lines.map { $0.split(separator: " ").map(String.init) }
    let ran = words.filter { $0[1] != "CANCELED" }.map { $0[2] }.sorted()
    #expect(ran == codes, "\(there)")
    #expect(words.allSatisfy { $0[0] == "INACTIVE" && ($0[1] != "CANCELED" || $0.last == "0.0") }, "\(there)")
  }

  // MARK: The instance

  /// An origin that keeps its state, and a target; `directory` is for whatever else.
  private func withState(
    _ body: @Sendable @escaping (_ origin: Origin, _ b: Instance, _ directory: String) async throws -> Void
  ) async throws {
    let directory = try temporaryDirectory("state")
    defer { remove(directory) }
    for name in ["state", "tmp"] { mkdir("\(directory)/\(name)", 0o755) }
    try await withInstance(.flux, name: "b") { b in
      try await body(Origin(directory: directory, target: b.uri), b, directory)
    }
  }

  /// Runs scripts in an origin, one after the other, each in a new start of it.
  struct Origin: Sendable {
    let directory: String
    let target: String

    func callAsFunction(_ script: String, environment: [String: String] = [:]) async throws -> Output {
      let configuration = #"{"delegate":[{"uri":"\#(target)","label":"bee"}]}"#
      let start = """
        echo '\(configuration)' | flux config load && flux jobtap load \(Build.plugin) || exit 1
        """
      // What a killed broker leaves goes with the directory.
      let variables = environment.merging(["TMPDIR": directory + "/tmp", "WAIT": LiveCaseTests.wide]) { $1 }
      return try await run(
        ["flux", "start", "-Sstatedir=\(directory)/state", "sh", "-c", start + "\n" + script], environment: variables)
    }
  }

  /// Has one job run at the target, and another one wait there, for as long as the returned job of the target's own goes on.
  private static let submissions = """
    on_event() { flux job wait-event -q -t 120 $1 $2 || exit 1; }
    run=$(flux submit -N1 -n1 --exclusive -S system.delegate=bee sh -c "$RUN")
    on_event $run start
    wait=$(flux submit -N2 --exclusive -S system.delegate=bee sh -c "$WAIT")
    on_event $wait delegate::submit
    echo $run $wait
    """

  private static func block(_ b: Instance) async throws -> String {
    try await submit(b, "start", "-N1", "--exclusive", "sleep", "1000")
  }

  /// An origin that keeps nothing on disk ends: none of its jobs is left at the target, running or waiting.
  @Test func theOriginEnds() async throws {
    try await withInstance(.embedded, name: "b") { b in
      for _ in 0..<5 {
        try await withInstance(.embedded, name: "a") { a in
          try await configure(a, ["bee": b.uri])
          _ = try await a("jobtap", "load", Build.plugin)
          _ = try await submit(a, "start", "-N2", "--exclusive", "-S", "system.delegate=bee", "sleep", "1000")
          _ = try await submit(a, "delegate::submit", "-S", "system.delegate=bee", "sleep", "1000")
        }
        let left = try await b("jobs", "-n")
        #expect(left.out.isEmpty, "\(left)")
      }
    }
  }

  /// An orderly end cancels what runs, here and there, and leaves alone what waits there: that goes on at the next start.
  @Test(.enabled(if: Flux.isThere)) func theOriginIsShutDown() async throws {
    try await withState { origin, b, _ in
      let blocker = try await Self.block(b)
      let first = try await origin(Self.submissions, environment: ["RUN": "echo begun; sleep 1000"])
      let ids = first.lines.last?.split(separator: " ").map(String.init) ?? []
      try #require(first.code == 0 && ids.count == 2, "\(first)")
      let left = try await b("jobs", "-a", "-n", "-o", "{name} {status}")
      #expect(Set(left.lines) == ["sleep RUN", "sh CANCELED", "sh SCHED"], "\(left)")
      _ = try await b("cancel", blocker)
      let second = try await origin(
        "flux job attach \(ids[1]); echo code $?; flux jobs -a -n -o '{status} {returncode}'; flux job eventlog \(ids[0])"
      )
      #expect(second.lines.prefix(4) == ["out", "code 4", "FAILED 4", "CANCELED 143"], "\(second)")
      #expect(second.lines.filter { $0.hasSuffix(" clean") }.count == 1, "\(second)")
      try await expectEnds(b, ["FAILED 4", "CANCELED 143", "CANCELED 143"])
    }
  }

  private func expectEnds(_ b: Instance, _ ends: [String]) async throws {
    let there = try await eventually {
      try await b("jobs", "-a", "-n", "-o", "{status} {returncode}")
    } until: {
      $0.lines.sorted() == ends.sorted()
    }
    #expect(there.lines.sorted() == ends.sorted(), "\(there)")
  }

  /// The same without the cancellation, as an administrator may have it: what runs there goes on.
  @Test(.enabled(if: Flux.isThere)) func theOriginIsShutDownAndCancelsNothing() async throws {
    try await withState { origin, b, directory in
      let blocker = try await Self.block(b)
      let script = "echo begun; until [ -e \(directory)/go ]; do sleep 0.1; done; echo ended; exit 5"
      let first = try await origin(Self.submissions, environment: ["RUN": script, "FLUX_DISABLE_JOB_CLEANUP": "1"])
      let ids = first.lines.last?.split(separator: " ").map(String.init) ?? []
      try #require(first.code == 0 && ids.count == 2, "\(first)")
      try await expectBothEnd(origin, b, ids, blocker, directory)
    }
  }

  /// The logs of a job that has run before the start come from its target, a moment after the plugin was loaded: only then it can be attached to.
  private static let logsOfRunningJobs =
    "logs() { until flux job eventlog -p exec $1 >/dev/null 2>&1; do sleep 0.1; done; }"

  /// Whatever an origin has begun, and knows of, has one end after it is there again.
  private func expectBothEnd(
    _ origin: Origin, _ b: Instance, _ ids: [String], _ blocker: String, _ directory: String
  ) async throws {
    let left = try await b("jobs", "-n", "-o", "{name} {status}")
    #expect(Set(left.lines) == ["sleep RUN", "sh RUN", "sh SCHED"], "\(left)")
    _ = try await b("cancel", blocker)
    let second = try await origin(
      """
      \(Self.logsOfRunningJobs)
      logs \(ids[0])
      touch \(directory)/go
      for id in \(ids.joined(separator: " ")); do flux job attach $id; echo code $?; done
      for id in \(ids.joined(separator: " ")); do flux job wait-event -q -t 120 $id clean; flux job eventlog $id; done
      """)
    #expect(second.lines.prefix(5) == ["begun", "ended", "code 5", "out", "code 4"], "\(second)")
    #expect(second.lines.filter { $0.contains(" finish ") }.count == 2, "\(second)")
    #expect(second.lines.filter { $0.hasSuffix(" clean") }.count == 2, "\(second)")
    try await expectEnds(b, ["FAILED 5", "FAILED 4", "CANCELED 143"])
  }

  /// The broker is killed. What Flux has on disk by then, `flux kvs sync` says; of the two jobs that is all.
  @Test(.enabled(if: Flux.isThere)) func theOriginIsKilled() async throws {
    try await withState { origin, b, directory in
      let blocker = try await Self.block(b)
      let script = "echo begun; until [ -e \(directory)/go ]; do sleep 0.1; done; echo ended; exit 5"
      let first = try await origin(
        Self.submissions + "\nflux kvs sync && kill -9 $(flux getattr broker.pid)", environment: ["RUN": script])
      let ids = first.lines.last?.split(separator: " ").map(String.init) ?? []
      try #require(ids.count == 2, "\(first)")
      try await expectBothEnd(origin, b, ids, blocker, directory)
    }
  }

  /// The broker is killed, and has forgotten by then that its jobs were sent: their copies, one that runs and one that waits, are found.
  @Test(.enabled(if: Flux.isThere)) func theOriginIsKilledAndHasForgotten() async throws {
    try await withState { origin, b, directory in
      let blocker = try await Self.block(b)
      let script = "echo begun; until [ -e \(directory)/go ]; do sleep 0.1; done; echo ended; exit 5"
      let first = try await origin(
        """
        on_event() { flux job wait-event -q -t 120 $1 $2 || exit 1; }
        gate=$(flux submit --urgency=hold true)
        run=$(flux submit -N1 -n1 --exclusive --dependency=afterany:$gate -S system.delegate=random sh -c "$RUN")
        wait=$(flux submit -N2 --exclusive --dependency=afterany:$gate -S system.delegate=bee sh -c "$WAIT")
        for id in $gate $run $wait; do on_event $id validate; done
        flux kvs sync || exit 1
        flux job urgency $gate 16
        on_event $run start
        on_event $wait delegate::submit
        echo $gate $run $wait
        kill -9 $(flux getattr broker.pid)
        """, environment: ["RUN": script])
      let ids = first.lines.last?.split(separator: " ").map(String.init) ?? []
      try #require(ids.count == 3, "\(first)")
      let known = try await origin(
        "flux jobs -a -n -o '{id.f58} {state}'; for id in $(flux jobs -n -o '{id.f58}'); do flux job eventlog $id; done"
      )
      #expect(!known.out.contains("delegate::"), "it has not forgotten: \(known)")
      #expect(Set(known.lines.prefix(3)) == ["\(ids[0]) SCHED", "\(ids[1]) DEPEND", "\(ids[2]) DEPEND"], "\(known)")
      let left = try await b("jobs", "-n", "-o", "{name} {status}")
      #expect(Set(left.lines) == ["sleep RUN", "sh RUN", "sh SCHED"], "\(left)")
      _ = try await b("cancel", blocker)
      let second = try await origin(
        """
        flux job urgency \(ids[0]) 16 && flux job wait-event -q -t 120 \(ids[1]) start && touch \(directory)/go
        for id in \(ids[1]) \(ids[2]); do flux job attach $id; echo code $?; done
        """)
      #expect(second.lines == ["begun", "ended", "code 5", "out", "code 4"], "\(second)")
      try await expectEnds(b, ["FAILED 5", "FAILED 4", "CANCELED 143"])
    }
  }
}
