// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// What can be wrong with a request: a clear message at submission or in the job's exception, and nothing left behind.
@Suite(.serialized) struct BadInputTests {
  /// Rejected at submission: the message says what to write, and there is no job.
  @Test(arguments: Host.available) func atSubmission(_ host: Host) async throws {
    try await withInstance(host, name: "a") { a in
      try await load(a)
      let cases: [(String, String)] = [
        ("delegate:foo:///x", "unknown scheme 'foo': write local:///path/to/socket or ssh://host/path/to/socket"),
        ("delegate:", "no targets are configured: name one by its URI, local:///path/to/socket or ssh"),
        ("delegate:corona", "there is no target 'corona': the configuration has no labels"),
        ("delegate:ssh://host", "'ssh://host': "), ("delegate:local://x/y", "'local://x/y': "),
        ("delegate:ssh://h/p/$(reboot)", "'ssh://h/p/$(reboot)': "),
        ("delegate:local:///x?wait=1", "unknown option 'wait'"),
        ("delegate:" + String(repeating: "x", count: 64 << 10), "the value has 65536 bytes, more than 4096"),
      ]
      for (dependency, words) in cases {
        let answer = try await a("submit", "--dependency=\(dependency)", "hostname")
        #expect(
          answer.code != 0 && answer.out.isEmpty && answer.err.contains(words), "\(dependency.prefix(80)): \(answer)")
      }
      let answer = try await a(
        "submit", "--dependency=delegate:local:///x", "--dependency=delegate:local:///y", "hostname")
      #expect(answer.code != 0 && answer.err.contains("delegate: a job is delegated once"), "\(answer)")
      let jobs = try await a("jobs", "-a", "-n")
      #expect(jobs.lines.isEmpty, "\(jobs)")
    }
  }

  /// What only trying shows: the job ends with `DelegationFailure`, whose note says what happened.
  @Test(arguments: Host.available) func atTheTarget(_ host: Host) async throws {
    let directory = try temporaryDirectory("bad")
    defer { remove(directory) }
    let silent = try Listener("\(directory)/silent", says: nil)
    let mute = try Listener("\(directory)/mute", says: [0])
    let web = try Listener("\(directory)/web", says: Array("HTTP/1.0 400 Bad Request\r\n".utf8))
    let refusing = try Listener("\(directory)/no", says: [1])
    defer { for listener in [silent, mute, web, refusing] { listener.close() } }
    let path = ["PATH": Build.directory + ":" + currentPath, "FLUX_DELEGATE_CONNECT_TIMEOUT": "1"]
    try await withInstance(host, name: "a", environment: path) { a in
      try await load(a)
      let cases: [(String, String)] = [
        ("local://\(directory)/nothing", "there is no socket at that path"),
        ("local:///etc/passwd", "no instance listens on that path"),
        ("local://\(directory)/silent", "accepted the connection and then said nothing for 1 s"),
        ("local://\(directory)/mute", "no answer to attr.get within 1 s"),
        ("local://\(directory)/web", "what answers is not a Flux instance"),
        ("local://\(directory)/no", "the instance refuses this user: Operation not permitted"),
      ]
      for (uri, words) in cases { try await expectFailure(a, uri, words) }
      try await expectNothingLeft(a)
    }
  }

  @Test(.enabled(if: SSHServer.isThere, "no sshd: install openssh-server"), arguments: Host.available)
  func aRefusedLogin(_ host: Host) async throws {
    try await SSHServer.withServer { server in
      let environment = server.environment.merging(["PATH": Build.directory + ":" + currentPath]) { $1 }
      unlink(server.directory + "/authorized_keys")
      try await withInstance(host, name: "a", environment: environment) { a in
        try await load(a)
        try await expectFailure(a, "ssh://localhost/tmp/x/local", "Permission denied")
        try await expectFailure(a, "ssh://no-such-host.invalid/tmp/x/local", "ssh: ")
        try await expectNothingLeft(a)
      }
    }
  }

  /// The target's own words reach the owner. The embedded B lacks A's hosts; the real one has a limit that A has not.
  @Test(arguments: Host.available) func theTargetRejectsTheJob(_ host: Host) async throws {
    guard host != .embedded || canNameHosts else { return }
    try await withInstance(host, name: "a") { a in
      try await load(a)
      try await withInstance(host, name: "b") { b in
        if host != .embedded {
          let limit = "[policy.limits]\njob-size.max.ncores = 1\n"
          let configured = try await run(["flux", "config", "load"], uri: b.uri, input: limit)
          try #require(configured.code == 0, "\(configured)")
        }
        let request = host == .embedded ? ["--requires=host:a0"] : ["-n2"]
        let words =
          host == .embedded
          ? "host constraint contains invalid hosts: host 'a0' not found"
          : "requested ncores (2) exceeds policy limit of 1"
        try await expectFailure(a, b.uri, "the target rejects the job: \(words)", options: request)
        let there = try await b("jobs", "-a", "-n")
        #expect(there.lines.isEmpty, "\(there)")
      }
    }
  }

  private func load(_ a: Instance) async throws {
    let loaded = try await a("jobtap", "load", Build.plugin)
    try #require(loaded.code == 0, "\(loaded)")
    // A job that is older than the agent may have been sent by an earlier one, and would be looked for instead of failing.
    _ = try await a.agent()
  }

  private func expectFailure(_ a: Instance, _ uri: String, _ words: String, options: [String] = []) async throws {
    let submitted = try await run(
      [a.host.program, "submit", "--dependency=delegate:\(uri)"] + options + ["hostname"], uri: a.uri)
    let id = submitted.out.trimmed
    try #require(submitted.code == 0, "\(submitted)")
    let log = try await eventually {
      try await a("job", "eventlog", id)
    } until: {
      $0.out.contains(" clean")
    }
    let failure = log.lines.first { $0.contains("type=\"DelegationFailure\" severity=0") } ?? ""
    #expect(failure.contains(words), "\(uri): \(log)")
    #expect(!log.out.contains(" delegated "), "\(uri): \(log)")
  }

  /// No job is active, and the agent has no connection and no child left.
  private func expectNothingLeft(_ a: Instance) async throws {
    let active = try await a("jobs", "-n")
    #expect(active.lines.isEmpty, "\(active)")
    let agent = try await a.agent()
    let children = try await eventually {
      try await run(["pgrep", "-P", "\(agent)"])
    } until: {
      $0.lines.isEmpty
    }
    #expect(children.lines.isEmpty, "\(children)")
  }
}

/// A socket that accepts and says something, or nothing.
final class Listener: Sendable {
  private let descriptor: CInt
  private let path: String

  init(_ path: String, says greeting: [UInt8]?) throws {
    self.path = path
    let listening = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    descriptor = listening
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
    let bound = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listening, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(bound == 0 && listen(listening, 8) == 0)
    guard let greeting else { return }
    // Accepts for as long as the socket is open.
    var thread = pthread_t()
    let context = Unmanaged.passRetained(Greeting(listening, greeting)).toOpaque()
    pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<Greeting>.fromOpaque(context).takeRetainedValue().serve()
        return nil
      }, context)
  }

  func close() {
    shutdown(descriptor, CInt(SHUT_RDWR))
    Glibc.close(descriptor)
    unlink(path)
  }

  private final class Greeting: Sendable {
    let listening: CInt
    let bytes: [UInt8]

    init(_ listening: CInt, _ bytes: [UInt8]) {
      self.listening = listening
      self.bytes = bytes
    }

    func serve() {
      while true {
        let client = accept(listening, nil, nil)
        guard client >= 0 else { return }
        _ = bytes.withUnsafeBytes { write(client, $0.baseAddress, $0.count) }
      }
    }
  }
}
