// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import Testing

/// Targets that are drained, limited, failing, or out of sight for too long; and what `targets`, `jobs -d` and `job ID` say of it.
@Suite(.serialized) struct TargetTests {
  /// Our own verbs, which Flux's commands have no like of.
  private func ours(_ instance: Instance, _ words: String...) async throws -> Output {
    try await run([Build.executable] + words, uri: instance.uri)
  }

  private func submit(_ a: Instance, _ value: String, _ command: String...) async throws -> String {
    let answer = try await run(
      [a.host.program, "submit", "-S", "system.delegate=\(value)"] + command, uri: a.uri)
    try #require(answer.code == 0, "\(answer)")
    return answer.out.trimmed
  }

  /// The line of a target in `targets`, once it says so.
  private func target(_ a: Instance, _ name: String, _ words: String) async throws -> Output {
    try await eventually {
      let all = try await ours(a, "targets", "-n")
      return Output(code: all.code, out: all.lines.first { $0.hasPrefix("\(name) ") } ?? "", err: all.err)
    } until: {
      $0.out.contains(words)
    }
  }

  @Test(arguments: Host.available) func aTargetIsDrained(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let there = try await target(a, "bee", "connected")
      #expect(there.out.contains("connected"), "\(there)")
      let drained = try await ours(a, "drain", "bee", "new", "kernel")
      #expect(drained.code == 0, "\(drained)")
      let id = try await submit(a, "bee", "true")
      let listed = try await eventually {
        try await ours(a, "jobs", "-d", "-n")
      } until: {
        $0.out.contains("new kernel")
      }
      #expect(listed.out.contains(" choosing ") && listed.out.contains("bee: drained: new kernel"), "\(listed)")
      // Whoever names no target gets another one, or waits.
      let any = try await submit(a, "random", "true")
      // The next agent knows it as well.
      #expect(kill(try await a.agent(), SIGKILL) == 0)
      let still = try await target(a, "bee", "drained since")
      #expect(still.out.contains("new kernel"), "\(still)")
      let undrained = try await ours(a, "undrain", "bee")
      #expect(undrained.code == 0, "\(undrained)")
      for id in [id, any] {
        let log = try await eventlog(a, id)
        #expect(log.out.contains("finish status=0"), "\(log)")
      }
      #expect(try await b("jobs", "-a", "-n").lines.count == 2)
    }
  }

  @Test(arguments: Host.available) func wrongTargetsAreNamed(_ host: Host) async throws {
    try await withPair(host) { a, b in
      for (name, words) in [
        ("nosuch", "there is no target 'nosuch': the configuration has bee"), ("random", "'random' is no target"),
      ] {
        let drained = try await ours(a, "drain", name)
        #expect(drained.code == 1 && drained.err.contains(words), "\(drained)")
      }
      try await load(a, #"{"delegate":[{"uri":"\#(b.uri)","label":"bee","drain":"for ever"}]}"#)
      let undrained = try await ours(a, "undrain", "bee")
      #expect(undrained.code == 1 && undrained.err.contains("drained by the configuration"), "\(undrained)")
      _ = try await a("jobtap", "remove", "delegate.so")
      let none = try await eventually {
        try await ours(a, "targets")
      } until: {
        $0.code != 0
      }
      #expect(none.err.contains("no agent is there: load the plugin"), "\(none)")
    }
  }

  @Test(arguments: Host.available) func atMostSoManyJobsAtOnce(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await load(a, #"{"delegate":[{"uri":"\#(b.uri)","label":"bee","max-jobs":2}]}"#)
      let submitted = try await run(
        [host.program, "submit", "--cc=1-6", "-S", "system.delegate=bee", "sleep", "0.5"], uri: a.uri)
      #expect(submitted.lines.count == 6, "\(submitted)")
      var most = 0
      let done = try await eventually {
        most = max(most, try await b("jobs", "-n").lines.count)
        return try await a("jobs", "-a", "-n", "-o", "{status_abbrev}")
      } until: {
        $0.lines.count == 6 && Set($0.lines) == ["CD"]
      }
      #expect(done.lines == Array(repeating: "CD", count: 6), "\(done)")
      #expect((1...2).contains(most), "\(most) jobs were there at once")
    }
  }

  /// Out of sight for longer than the owner has patience: it runs elsewhere, and the first copy is cancelled when it is seen again.
  @Test(arguments: Host.available) func atLeastOnce(_ host: Host) async throws {
    try await withInstance(host, name: "c") { c in
      try await withPair(host) { a, b in
        try await configure(a, ["bee": b.uri, "sea": c.uri])
        let script = "echo begin; while test -e \(a.marker); do sleep 0.1; done; echo end; exit 3"
        try a.setMarker(true)
        defer { try? a.setMarker(false) }
        let value = #"{"targets":["bee","sea"],"delivery":"at-least-once","patience":2}"#
        let id = try await submit(a, value, "sh", "-c", script)
        let started = try await a("job", "wait-event", "-t", "120", id, "start")
        try #require(started.code == 0, "\(started)")
        let pid = try #require(pid_t(try await b("getattr", "broker.pid").out.trimmed))
        #expect(kill(pid, SIGKILL) == 0)
        let moved = try await eventually(within: .seconds(240)) {
          try await a("job", "eventlog", id)
        } until: {
          $0.lines.filter { $0.contains("delegate::submit") }.count == 2
        }
        #expect(moved.out.contains("it cannot be seen"), "\(moved)")
        try a.setMarker(false)
        let attached = try await a("job", "attach", id)
        #expect(attached.code == 3 && attached.out == "begin\nend\n", "\(attached)")
        let story = try await ours(a, "job", id)
        #expect(story.out.contains("has failed with exit code 3 at sea"), "\(story)")
        #expect(story.out.contains("given up there: bee: it cannot be seen"), "\(story)")
      }
    }
  }

  /// Nobody is at fault but home: with no other target in sight the job stays.
  @Test(arguments: Host.available) func nowhereElse(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await load(
        a, #"{"delegate":[{"uri":"\#(b.uri)","label":"bee"},{"uri":"local:///no/such","label":"dead"}]}"#)
      let value = #"{"targets":["bee","dead"],"delivery":"at-least-once","patience":1}"#
      let id = try await submit(a, value, "sleep", "1000")
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      let pid = try #require(pid_t(try await b("getattr", "broker.pid").out.trimmed))
      #expect(kill(pid, SIGKILL) == 0)
      let shown = try await eventually {
        try await ours(a, "jobs", "-d", "-n")
      } until: {
        $0.out.contains("unknown since")
      }
      #expect(shown.out.contains("unknown since"), "\(shown)")
      try await Task.sleep(for: .seconds(3))
      let log = try await a("job", "eventlog", id)
      #expect(!log.out.contains("delegate::exception") && !log.out.contains(" clean"), "\(log)")
    }
  }

  @Test(arguments: Host.available) func theStoryOfAJob(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let id = try await submit(a, "bee", "sh", "-c", "exit 7")
      _ = try await eventlog(a, id)
      let story = try await ours(a, "job", id)
      #expect(story.out.contains("has failed with exit code 7 at bee as ƒ"), "\(story)")
      for words in ["submitted by", "held for delegation", "bee was chosen", "bee has accepted it", "started at bee"] {
        #expect(story.out.contains(words), "\(words): \(story)")
      }
      let json = try JSON(parsing: try await ours(a, "job", "explain", "--json", id).out)
      #expect(json["waitstatus"]?.intValue == 7 << 8 && json["attempts"]?.arrayValue?.count == 1, "\(json.text)")
      #expect(
        try json["attempts"]?.arrayValue?.first?["jobid"]?.intValue.map { JobID(rawValue: UInt64($0)) }
          == JobID(parsing: try await b("job", "last").out.trimmed))
      let home = try await a("submit", "true")
      let own = try await ours(a, "job", home.out.trimmed)
      #expect(own.out.contains("is not delegated"), "\(own)")
      let unknown = try await ours(a, "job", "ƒ11111111")
      #expect(unknown.code == 1 && unknown.err.contains("is not known here"), "\(unknown)")
      let targets = try JSON(parsing: try await ours(a, "targets", "--json").out)
      let bee = targets["targets"]?.arrayValue?.first
      #expect(bee?["label"]?.stringValue == "bee" && bee?["state"]?.stringValue == "connected", "\(targets.text)")
      #expect(
        bee?["latency"]?.doubleValue ?? 0 > 0 && bee?["version"]?.stringValue?.isEmpty == false, "\(targets.text)")
    }
  }

  /// A target that fails every job at once: the sixth waits, and the target is tried again with one.
  @Test(.enabled(if: Flux.isThere)) func aBlackHole() async throws {
    try await withPair(.flux) { a, b in
      try await load(b, #"{"exec":{"job-shell":"/no/such/shell"}}"#)
      let reloaded = try await run(["flux", "module", "reload", "-f", "job-exec"], uri: b.uri)
      #expect(reloaded.code == 0, "\(reloaded)")
      for _ in 0..<5 {
        let id = try await submit(a, "bee", "true")
        let log = try await eventlog(a, id)
        #expect(log.out.contains("exception type=\"exec\""), "\(log)")
      }
      let paused = try await target(a, "bee", "paused")
      #expect(paused.out.contains("it has failed 5 jobs in a row"), "\(paused)")
      let waiting = try await submit(a, "bee", "true")
      let listed = try await eventually {
        try await ours(a, "jobs", "-d", "-n")
      } until: {
        $0.out.contains("5 jobs in a row")
      }
      #expect(listed.lines.count == 1 && listed.out.contains("5 jobs in a row"), "\(listed)")
      // Mended, it is tried with the one that waits.
      try await load(b, "{}")
      _ = try await run(["flux", "module", "reload", "-f", "job-exec"], uri: b.uri)
      let undrained = try await ours(a, "undrain", "bee")
      #expect(undrained.code == 0, "\(undrained)")
      let log = try await eventlog(a, waiting)
      #expect(log.out.contains("finish status=0"), "\(log)")
    }
  }

  /// The origin is shut down, and has no state directory: what waits at the target goes, unless it was to be kept.
  @Test(arguments: Host.available) func theOriginEndsForGood(_ host: Host) async throws {
    try await withInstance(host, name: "b") { b in
      try await withInstance(host, name: "a") { a in
        try await configure(a, ["bee": b.uri])
        let loaded = try await a("jobtap", "load", Build.plugin)
        try #require(loaded.code == 0, "\(loaded)")
        _ = try await a.agent()
        var ids: [String] = []
        for value in ["bee", #"{"policy":"bee","orphans":"keep"}"#] {
          let answer = try await run(
            [a.host.program, "submit", "--urgency=hold", "-S", "system.delegate=\(value)", "true"], uri: a.uri)
          ids.append(answer.out.trimmed)
        }
        ids.append(try await submit(a, "bee", "sleep", "1000"))
        for id in ids {
          let there = try await a("job", "wait-event", "-t", "120", id, "delegate::submit")
          #expect(there.code == 0, "\(there)")
        }
        _ = try await a("job", "wait-event", "-t", "120", ids[2], "start")
      }
      let left = try await eventually {
        try await b("jobs", "-a", "-n", "-o", "{status}")
      } until: {
        $0.lines.filter { $0 == "CANCELED" }.count == 2
      }
      #expect(left.lines.sorted() == ["CANCELED", "CANCELED", "SCHED"], "\(left)")
    }
  }
}

extension Instance {
  /// A file that jobs of a test look for.
  fileprivate var marker: String { "/tmp/fd-marker-\(pid)" }

  fileprivate func setMarker(_ isThere: Bool) throws {
    if isThere { close(open(marker, O_CREAT | O_WRONLY, 0o600)) } else { unlink(marker) }
  }
}
