// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Foundation
import Glibc
import Logging
import Testing

/// An embedded instance with a state directory that is killed and started again.
@Suite(.serialized) struct StateTests {
  /// A stream of submissions is cut off by `kill -9`: every id that was answered is there again, and none comes twice.
  @Test func everySubmissionThatWasAnsweredIsThere() async throws {
    try await Durable.with("a") { a in
      var known: Set<String> = []
      for round in 0..<3 {
        let ids = Counted()
        async let submitted: Void = Self.submitUntilTheEnd(a.uri, ids)
        // In the middle of the stream, however fast that is.
        let end = ContinuousClock.now + .seconds(120)
        while await ids.all.count <= 10, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(5)) }
        try await a.kill(after: .milliseconds(100 * round))
        await submitted
        let answered = await ids.all
        #expect(answered.count > 10 && known.isDisjoint(with: answered))
        known.formUnion(answered)
        try await a.start()
        let listed = try await a.instance("jobs", "-a", "-n", "-c100000", "-o", "{id.dec}")
        #expect(known.isSubset(of: listed.lines), "\(known.count) known, \(listed.lines.count) listed")
      }
      _ = try await eventually(within: .seconds(240)) {
        try await a.instance("jobs", "-n", "-c100000", "-o", "{id}")
      } until: {
        $0.lines.isEmpty
      }
      // Whatever was running when the instance was killed has failed; everything else has run, once.
      let ends = try await a.instance("jobs", "-a", "-n", "-c100000", "-o", "{status_abbrev} {exception.type}")
      #expect(ends.lines.allSatisfy { $0 == "CD" || $0 == "CD " || $0 == "F exec" }, "\(Set(ends.lines))")
    }
  }

  /// Submits over one connection until that breaks, and keeps the ids that were answered.
  private static func submitUntilTheEnd(_ uri: String, _ ids: Counted) async {
    let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    var request = Jobspec.Request(command: ["true"])
    request.cwd = "/"
    guard let jobspec = try? Jobspec(request), let address = try? FluxURI(parsing: uri) else { return }
    let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
    let payload: JSON = ["J": .string(signed.text), "urgency": 16, "flags": 0]
    try? await FluxConnection.withConnection(to: address, logger: logger) { connection in
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<8 {
          group.addTask {
            while let answer = try? await connection.rpc("job-ingest.submit", payload) {
              if let id = JobID(answer["id"]) { await ids.add(id.encoded(.dec)) }
            }
          }
        }
      }
    }
  }

  private actor Counted {
    private(set) var all: Set<String> = []
    func add(_ id: String) { all.insert(id) }
  }

  /// The process of a job that ran is gone with the instance; the job says so. Its directory is refused to another while it is in use.
  @Test func aRunningJobFailsAndOthersGoOn() async throws {
    try await Durable.with("a") { a in
      let done = try await a.instance("run", "sh", "-c", "echo out; echo err >&2; exit 3")
      #expect(done.code == 3)
      let running = try await a.instance("submit", "sh", "-c", "echo $$; sleep 1000").out.trimmed
      let pid = try await eventually {
        try await a.instance("job", "eventlog", "-p", "output", running)
      } until: {
        $0.out.contains("data")
      }
      #expect(pid.code == 0)
      let held = try await a.instance("submit", "--urgency=hold", "echo", "late").out.trimmed
      let after = try await a.instance("submit", "--dependency=afterok:\(held)", "echo", "last").out.trimmed
      let second = try await run([Build.executable, "start", "--statedir", a.directory, "true"])
      #expect(second.code != 0 && second.err.contains("another instance uses the state directory"), "\(second)")
      try await a.kill()
      try await a.start()
      let ended = try await eventlog(a.instance, running)
      #expect(ended.out.contains("the job's processes have ended with the instance"), "\(ended)")
      #expect(ended.out.contains("finish status=9"), "\(ended)")
      let states = try await a.instance("jobs", "-n", "-o", "{id} {state}")
      #expect(Set(states.lines) == ["\(held) SCHED", "\(after) DEPEND"], "\(states)")
      _ = try await a.instance("job", "urgency", held, "16")
      let last = try await a.instance("job", "attach", after)
      #expect(last.out == "last\n" && last.code == 0, "\(last)")
      let old = try await a.instance("jobs", "-a", "-n", "-o", "{id} {returncode}", "--filter=failed")
      let first = try #require(old.lines.first { $0.hasSuffix(" 3") }?.split(separator: " ").first.map(String.init))
      let attached = try await a.instance("job", "attach", first)
      #expect(attached.code == 3 && attached.out == "out\n" && attached.err.contains("err\n"), "\(attached)")
    }
  }

  /// The file system takes nothing more: changes are refused, what was answered stays, and it goes on when there is room.
  @Test(.enabled(if: Flux.find("prlimit") != nil)) func aFullDisk() async throws {
    try await Durable.with("a") { a in
      let first = try await a.instance("submit", "--urgency=hold", "echo", "kept").out.trimmed
      _ = try await run(["prlimit", "--pid", "\(a.pid)", "--fsize=4096:unlimited"])
      let refused = try await a.instance("submit", "echo", "refused")
      #expect(refused.code != 0 && refused.err.contains("the state directory cannot be written"), "\(refused)")
      let listed = try await a.instance("jobs", "-n", "-o", "{id}")
      #expect(listed.lines.contains(first), "\(listed)")
      let again = try await a.instance("job", "urgency", first, "20")
      #expect(again.code != 0, "\(again)")
      let log = try await a.instance("dmesg")
      #expect(log.out.contains("the state directory cannot be written"), "\(log)")
      _ = try await run(["prlimit", "--pid", "\(a.pid)", "--fsize=unlimited:unlimited"])
      let ran = try await eventually {
        try await a.instance("run", "echo", "room")
      } until: {
        $0.code == 0
      }
      #expect(ran.out == "room\n", "\(ran)")
      try await a.kill()
      try await a.start()
      let there = try await a.instance("jobs", "-a", "-n", "-o", "{id} {state} {exception.type}")
      #expect(there.lines.contains { $0.hasPrefix("\(first) SCHED") }, "\(there)")
      // The job whose submission was refused has not run.
      #expect(there.lines.filter { $0.hasSuffix("INACTIVE state") }.count == 1, "\(there)")
    }
  }

  private static let script = "echo begin; while [ ! -e $GATE ]; do sleep 0.05; done; echo end; exit 3"

  /// The origin is killed, or stopped, while its job waits at the target, and again while it runs there.
  @Test(arguments: [SIGKILL, SIGTERM]) func theOriginIsKilled(_ signal: CInt) async throws {
    try await Durable.with("a") { a in
      try await withInstance(.embedded, name: "b") { b in
        try await Self.load(a, target: b.uri)
        let gate = a.directory + "/../gate"
        let id = try await a.instance(
          "submit", "-S", "system.delegate=bee", "--urgency=hold", "sh", "-c", Self.script, environment: ["GATE": gate]
        ).out.trimmed
        let sent = try await a.instance("job", "wait-event", "-t", "120", id, "delegate::submit")
        try #require(sent.code == 0, "\(sent)")
        try await a.kill(with: signal)
        try await a.start()
        try await Self.load(a, target: b.uri)
        _ = try await a.instance("job", "urgency", id, "16")
        let started = try await a.instance("job", "wait-event", "-t", "120", id, "start")
        try #require(started.code == 0, "\(started)")
        try await a.kill(with: signal)
        try await a.start()
        let running = try await a.instance("jobs", "-n", "-o", "{state}")
        #expect(running.lines == ["RUN"], "\(running)")
        try await Self.load(a, target: b.uri)
        try Data().write(to: URL(fileURLWithPath: gate))
        try await Self.checkEnd(a.instance, id, b)
      }
    }
  }

  /// The target is killed while the job waits there.
  @Test func theTargetIsKilled() async throws {
    try await withInstance(.embedded, name: "a") { a in
      try await Durable.with("b") { b in
        try await configure(a, ["bee": b.uri])
        let loaded = try await a("jobtap", "load", Build.plugin)
        try #require(loaded.code == 0, "\(loaded)")
        _ = try await a.agent()
        let blocker = try await b.instance("submit", "-N2", "-n4", "sleep", "1000").out.trimmed
        let id = try await a(
          "submit", "-S", "system.delegate=bee", "sh", "-c", Self.script, environment: ["GATE": "/"]
        ).out.trimmed
        let sent = try await a("job", "wait-event", "-t", "120", id, "delegate::submit")
        try #require(sent.code == 0, "\(sent)")
        try await b.kill(after: .milliseconds(200))
        try await b.start()
        _ = try await b.instance("cancel", blocker)
        try await Self.checkEnd(a, id, b.instance)
      }
    }
  }

  private static func load(_ a: Durable, target: String) async throws {
    try await configure(a.instance, ["bee": target])
    let loaded = try await a.instance("jobtap", "load", Build.plugin)
    try #require(loaded.code == 0, "\(loaded)")
  }

  private static func checkEnd(_ a: Instance, _ id: String, _ target: Instance) async throws {
    let attached = try await a("job", "attach", id)
    #expect(attached.code == 3 && attached.out == "begin\nend\n", "\(attached)")
    let there = try await target("jobs", "-a", "-n", "-o", "{name} {status_abbrev} {returncode}")
    #expect(there.lines.filter { $0.hasPrefix("sh ") } == ["sh F 3"], "\(there)")
    let log = try await eventlog(a, id)
    #expect(log.lines.filter { $0.contains(" finish ") }.count == 1, "\(log)")
  }
}
