// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// When a target fails, the next one is tried; what was tried is in the eventlog.
@Suite(.serialized) struct FailoverTests {
  private static let nowhere = "local:///tmp/fd-nowhere"

  @Test(arguments: Host.available) func anUnreachableTarget(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await configure(a, ["gone": Self.nowhere, "bee": b.uri])
      let submitted = try await a("submit", "-S", #"system.delegate={"targets":["gone","bee"]}"#, "true")
      let log = try await eventlog(a, submitted.out.trimmed)
      #expect(
        log.out.contains(" delegate::exception attempt=1 uri=\"\(Self.nowhere)\" label=\"gone\" note=\"gone: "),
        "\(log)")
      #expect(log.out.contains("delegate::select attempt=2 uri=\"\(b.uri)\" label=\"bee\""), "\(log)")
      #expect(log.out.contains("finish status=0"), "\(log)")
    }
  }

  /// Too large for one target, not for the other: the first has an allocation exception or rejects it, the second runs it.
  @Test(arguments: Host.available) func aJobThatDoesNotFit(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await withInstance(.embedded, name: "large", nodes: 8) { large in
        try await configure(a, ["bee": b.uri, "large": large.uri])
        let submitted = try await a("submit", "-N8", "-S", #"system.delegate={"targets":["bee","large"]}"#, "true")
        let log = try await eventlog(a, submitted.out.trimmed)
        #expect(log.out.contains("delegate::exception attempt=1"), "\(log)")
        #expect(log.out.contains("label=\"large\" uri=\"\(large.uri)\" attempt=2"), "\(log)")
        #expect(log.out.contains("finish status=0"), "\(log)")
      }
    }
  }

  @Test(arguments: Host.available) func allAreExhausted(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await configure(a, ["gone": Self.nowhere, "bee": b.uri])
      let ran = try await a("run", "-N100", "-S", "system.delegate=random", "true")
      #expect(ran.code != 0 && ran.err.contains("DelegationFailure"), "\(ran)")
      #expect(ran.err.contains("2 targets were tried: ") && ran.err.contains("gone: "), "\(ran)")
      // One attempt is one attempt.
      let once = try await a("run", "-N100", "-S", #"system.delegate={"policy":"random","attempts":1}"#, "true")
      #expect(once.code != 0 && !once.err.contains("targets were tried"), "\(once)")
    }
  }

  /// A named target has no alternative: the job ends as it would there, and it is said why.
  @Test(arguments: Host.available) func aNamedTarget(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let ran = try await a("run", "-N100", "-S", "system.delegate=bee", "true")
      let direct = try await b("run", "-N100", "true")
      #expect(ran.code == direct.code && ran.code != 0, "\(ran) \(direct)")
      #expect(ran.err.contains("DelegationFailure"), "\(ran)")
    }
  }

  /// A target that is connected to and says nothing holds up a policy for 5 s, and then those are chosen among that answer.
  @Test(arguments: Host.available) func aSilentTarget(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let path = "/tmp/fd-silent-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
      let listener = try #require(SilentListener(path))
      defer { listener.close() }
      try await configure(a, ["silent": "local://\(path)", "bee": b.uri])
      let run = try await a("run", "-S", "system.delegate=least_pending", "echo", "x")
      #expect(run.out == "x\n", "\(run)")
      let log = try await a("job", "eventlog", try await a("job", "last").out.trimmed)
      let times = log.lines.compactMap { $0.split(separator: " ").first.flatMap { Double($0) } }
      let selected = log.lines.first { $0.contains("delegate::select") }?.split(separator: " ").first
      let waited = try #require(selected.flatMap { Double($0) }) - (times.first ?? 0)
      #expect(waited > 4 && waited < 9, "\(log)")
    }
  }
}

/// A Unix socket that takes connections, and never answers.
private struct SilentListener: Sendable {
  private let path: String
  private let descriptor: CInt

  init?(_ path: String) {
    self.path = path
    descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
    let isListening = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0 && listen(descriptor, 16) == 0
      }
    }
    guard isListening else { return nil }
  }

  func close() {
    Glibc.close(descriptor)
    unlink(path)
  }
}
