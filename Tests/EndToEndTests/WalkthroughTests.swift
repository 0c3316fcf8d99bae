// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

/// One job goes from A to B: the walk-through of the README, with each host's own commands.
@Suite(.serialized) struct WalkthroughTests {
  @Test(arguments: Host.available) func overALocalSocket(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      try await withInstance(host, name: "b") { b in try await walk(a, b, target: b.uri) }
    }
  }

  @Test(.enabled(if: SSHServer.isThere, "no sshd: install openssh-server"), arguments: Host.available)
  func overSSH(_ host: Host) async throws {
    try await SSHServer.withServer { server in
      let path = ["PATH": Build.directory + ":" + currentPath]
      let environment = server.environment.merging(path) { $1 }
      try await withInstance(host, name: "a", environment: environment) { a in
        try await withInstance(host, name: "b", environment: environment) { b in
          try await walk(a, b, target: server.uri(of: b.uri))
        }
      }
    }
  }

  @Test(.enabled(if: !Flux.isThere, "a real Flux is on PATH: it is tested")) func withoutFlux() {
    print("SKIPPED: the walk-through on a real Flux: there is no `flux` on PATH")
  }

  private func walk(_ a: Instance, _ b: Instance, target: String) async throws {
    try await look(a, b)
    try await load(a)
    let (id, remote) = try await delegate(a, target)
    // 7. The remote job, at B.
    let f58 = try await b("job", "id", "--to=f58", remote).out.trimmed
    let attached = try await b("job", "attach", f58)
    let expected = try await hosts(b)
    #expect(attached.code == 0 && attached.lines.sorted() == expected.sorted(), "\(attached)")
    let listed = try await b("jobs", "-a", "-n", "-o", "{id.f58} {status}")
    #expect(listed.lines.map(\.trimmed).contains("\(f58) COMPLETED"), "\(listed)")
    // The job at A has ended, and nothing of it runs there.
    let origin = try await a("jobs", "-a", "-n", "-o", "{id.f58} {status_abbrev}")
    #expect(origin.lines.map(\.trimmed).contains("\(id) F"), "\(origin)")
  }

  /// 2. `resource list` on each shows its nodes.
  private func look(_ a: Instance, _ b: Instance) async throws {
    for (instance, name) in [(a, "a"), (b, "b")] {
      let listed = try await instance("resource", "list", "-n")
      let free = try #require(listed.lines.first { $0.contains("free") }, "\(listed)")
      let words = free.split(separator: " ")
      #expect(words.count == 5 && words[1] == "2", "\(listed)")
      if instance.host == .embedded, canNameHosts { #expect(words[4] == "\(name)[0-1]", "\(listed)") }
    }
  }

  /// 4. `jobtap load`, `jobtap list`; removing and loading again works.
  private func load(_ a: Instance) async throws {
    for _ in 0..<3 {
      let loaded = try await a("jobtap", "load", Build.plugin)
      #expect(loaded.code == 0, "\(loaded)")
      let listed = try await a("jobtap", "list")
      #expect(listed.lines.contains("delegate.so"), "\(listed)")
      let removed = try await a("jobtap", "remove", "delegate.so")
      #expect(removed.code == 0, "\(removed)")
      let after = try await a("jobtap", "list")
      #expect(!after.lines.contains("delegate.so"), "\(after)")
    }
    let loaded = try await a("jobtap", "load", Build.plugin)
    #expect(loaded.code == 0, "\(loaded)")
  }

  /// 5 and 6. Submit, and read the eventlog.
  private func delegate(_ a: Instance, _ target: String) async throws -> (id: String, remote: String) {
    let submitted = try await a("submit", "--dependency=delegate:\(target)", "-N2", "-n2", "hostname")
    let id = submitted.out.trimmed
    #expect(submitted.code == 0 && (try? JobID(parsing: id)) != nil, "\(submitted)")
    let log = try await eventually {
      try await a("job", "eventlog", id)
    } until: {
      $0.out.contains(" clean")
    }
    let entries = log.lines.map { $0.split(separator: " ", maxSplits: 1)[1] }
    try #require(entries.count == 6, "\(log)")
    #expect(entries[0].hasPrefix("submit "))
    #expect(entries[1] == "dependency-add description=\"delegated\"")
    #expect(entries[2] == "validate")
    #expect(entries[3].hasPrefix("delegated jobid="))
    #expect(entries[4].hasPrefix("exception type=\"DelegationSuccess\" severity=0 note=\""))
    #expect(entries[5] == "clean")
    let attached = try await a("job", "attach", id)
    #expect((attached.out + attached.err).contains("type=DelegationSuccess severity=0"), "\(attached)")
    return (id, String(entries[3].dropFirst("delegated jobid=".count)))
  }

  private func hosts(_ instance: Instance) async throws -> [String] {
    guard instance.host == .embedded else {
      // Both brokers of `flux start -s2` are on this machine.
      let name = try await run(["hostname"]).out.trimmed
      return [name, name]
    }
    let list = try await instance("getattr", "hostlist").out.trimmed
    return try Hostlist(parsing: list).hosts
  }
}
