// SPDX-License-Identifier: LGPL-3.0-only

import Foundation
import Glibc
import Testing

/// The plugin comes and goes, the agent dies, the target is away: no job is lost, and none runs twice.
@Suite(.serialized) struct LifeCycleTests {
  private static let environment = ["PATH": Build.directory + ":" + currentPath]

  private func load(_ a: Instance) async throws {
    let loaded = try await a("jobtap", "load", Build.plugin)
    try #require(loaded.code == 0, "\(loaded)")
  }

  /// Removing the plugin with jobs in flight, and loading it again: each job runs once.
  @Test(arguments: Host.available) func removedAndLoadedWithJobsInFlight(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      try await withInstance(host, name: "b") { b in
        try await load(a)
        let count = 30
        async let submitted = a(
          "submit", "--cc=1-\(count)", "--dependency=delegate:\(b.uri)", "true")
        for _ in 0..<3 {
          try await Task.sleep(for: .milliseconds(40))
          _ = try await a("jobtap", "remove", "delegate.so")
          try await load(a)
        }
        let ids = try await submitted.lines.compactMap { $0.split(separator: " ").first.map(String.init) }
        // Those that met no plugin were rejected; the others have all been handed over, once.
        let done = try await eventually {
          try await a("jobs", "-a", "-n", "-o", "{id.f58} {state} {exception.type}")
        } until: {
          $0.lines.filter { $0.contains("INACTIVE DelegationSuccess") }.count >= ids.count
        }
        #expect(done.lines.filter { $0.contains("INACTIVE DelegationSuccess") }.count == ids.count, "\(done)")
        try await checkRuns(b, ids.count)
      }
    }
  }

  /// Each job has run once. A copy that outlived its agent may be there beside: it was held, never ran, and is cancelled in the end.
  private func checkRuns(_ target: Instance, _ count: Int) async throws {
    let remote = try await eventually(within: .seconds(240)) {
      try await target("jobs", "-a", "-n", "-o", "{status} {runtime}")
    } until: { remote in
      remote.lines.filter { $0.hasPrefix("COMPLETED") }.count >= count
        && !remote.lines.contains { $0.hasPrefix("SCHED") || $0.hasPrefix("PRIORITY") || $0.hasPrefix("DEPEND") }
    }
    let ran = remote.lines.filter { $0.hasPrefix("COMPLETED") }
    let strays = remote.lines.filter { !$0.hasPrefix("COMPLETED") }
    #expect(ran.count == count, "\(remote)")
    #expect(strays.allSatisfy { $0 == "CANCELED 0.0" }, "\(remote)")
  }

  /// The agent of the plugin that was removed hangs: it is gone before the next one begins, which follows the running job, in the form of a
  /// dependency too, to its end.
  @Test(arguments: Host.available) func loadedAgainWithJobsRunning(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let script = "sleep 1; echo done; exit 3"
      let first = try await a("submit", "-S", "system.delegate=bee", "sh", "-c", script)
      let second = try await a("submit", "--dependency=delegate:bee?mode=mirror", "sh", "-c", script)
      let ids = [first.out.trimmed, second.out.trimmed]
      for id in ids {
        let started = try await a("job", "wait-event", "-t", "120", id, "start")
        try #require(started.code == 0, "\(started)")
      }
      #expect(kill(try await a.agent(), SIGSTOP) == 0)
      _ = try await a("jobtap", "remove", "delegate.so")
      try await load(a)
      for id in ids {
        let attached = try await a("job", "attach", id)
        #expect(attached.code == 3 && attached.out == "done\n", "\(attached)")
      }
      let there = try await b("jobs", "-a", "-n")
      #expect(there.lines.count == 2, "\(there)")
    }
  }

  /// `kill -9` of the agent: another takes over.
  @Test(arguments: Host.available) func theAgentIsKilled(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      try await withInstance(host, name: "b") { b in
        try await load(a)
        let first = try await a.agent()
        let count = 30
        async let submitted = a("submit", "--cc=1-\(count)", "--dependency=delegate:\(b.uri)", "true")
        try await Task.sleep(for: .milliseconds(120))
        kill(first, SIGKILL)
        let answer = try await submitted
        #expect(answer.lines.count == count, "\(answer)")
        let done = try await eventually {
          try await a("jobs", "-a", "-n", "-o", "{state} {exception.type}")
        } until: {
          $0.lines.filter { $0.contains("INACTIVE DelegationSuccess") }.count == count
        }
        #expect(done.lines.filter { $0.contains("INACTIVE DelegationSuccess") }.count == count, "\(done)")
        try await checkRuns(b, count)
        let second = try await a.agent()
        #expect(second != first)
      }
    }
  }

  /// The agent ends when the plugin is removed, and with its instance.
  @Test(arguments: Host.available) func theAgentEnds(_ host: Host) async throws {
    let second = try await withInstance(host, name: "a") { a in
      try await load(a)
      let first = try await a.agent()
      _ = try await a("jobtap", "remove", "delegate.so")
      let gone = try await eventually {
        Output(code: kill(first, 0), out: "", err: "")
      } until: {
        $0.code != 0
      }
      #expect(gone.code != 0)
      try await load(a)
      return try await a.agent()
    }
    let gone = try await eventually {
      Output(code: kill(second, 0), out: "", err: "")
    } until: {
      $0.code != 0
    }
    #expect(gone.code != 0)
  }

  /// A wrong argument, or an executable that is not there: the load fails, and the log says why.
  @Test(arguments: Host.available) func wrongArguments(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      for (argument, words) in [
        ("nosuch=1", "unknown argument 'nosuch'"), ("agent=/no/such", "no flux-delegate executable at /no/such"),
      ] {
        let loaded = try await a("jobtap", "load", Build.plugin, argument)
        #expect(loaded.code != 0)
        let log = try await run(host == .embedded ? [Build.executable, "dmesg"] : ["flux", "dmesg"], uri: a.uri)
        #expect(log.out.contains(words), "\(log)")
      }
      let listed = try await a("jobtap", "list")
      #expect(!listed.lines.contains("delegate.so"))
    }
  }

  /// Jobs that are not delegated are not touched: the plugin's agent is told nothing of them.
  @Test(arguments: Host.available) func otherJobsAreNotTouched(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      try await load(a)
      let ran = try await a("run", "-n1", "echo", "home")
      #expect(ran.code == 0 && ran.out == "home\n", "\(ran)")
    }
  }

  /// The origin is shut down and started again with its state directory while the target holds the job: it goes on, and runs once.
  @Test(.enabled(if: Flux.isThere)) func theOriginIsRestarted() async throws {
    try await withInstance(.flux, name: "b") { b in
      let directory = FileManager.default.temporaryDirectory.appending(path: "fd-state-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: directory) }
      func origin(_ script: String) async throws -> Output {
        let target = #"{"delegate":[{"uri":"\#(b.uri)","label":"bee"}]}"#
        let start = "echo '\(target)' | flux config load && flux jobtap load \(Build.plugin) && "
        return try await run(["flux", "start", "-Sstatedir=\(directory.path)", "sh", "-c", start + script])
      }
      let submit = "flux submit --urgency=hold -S system.delegate=random sh -c 'echo out; exit 3'"
      let first = try await origin("id=$(\(submit)) && flux job wait-event -q -t 120 $id delegate::submit && echo $id")
      let id = first.out.trimmed
      try #require(first.code == 0 && !id.isEmpty, "\(first)")
      let second = try await origin("flux job urgency \(id) 16 && flux job attach \(id)")
      #expect(second.code == 3 && second.out.contains("out\n"), "\(second)")
      let there = try await b("jobs", "-a", "-n", "-o", "{status_abbrev} {returncode}")
      #expect(there.lines == ["F 3"], "\(there)")
    }
  }
}
