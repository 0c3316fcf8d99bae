// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// An embedded instance that was started over ssh on another host, with an address of its own, is a target.
@Suite(
  .serialized,
  .enabled(if: SecondHost.isThere, "needs root, a network namespace (iproute2, util-linux) and openssh-server"))
struct SecondHostTests {
  /// Runs `body` with an origin here, which has the plugin, and the URI of a target there.
  private func withTarget(
    _ host: Host, _ body: @Sendable @escaping (_ a: Instance, _ second: SecondHost, _ uri: String) async throws -> Void
  ) async throws {
    try await SecondHost.withHost { second in
      try await second.withInstance { uri in
        // A target that says nothing for six times as long counts as lost.
        let own = ["PATH": Build.directory + ":" + currentPath, "FLUX_DELEGATE_CONNECT_TIMEOUT": "2"]
        let environment = second.environment.merging(own) { $1 }
        try await withInstance(host, name: "a", environment: environment) { a in
          try await configure(a, ["far": uri])
          let loaded = try await a("jobtap", "load", Build.plugin)
          try #require(loaded.code == 0, "\(loaded)")
          try await body(a, second, uri)
        }
      }
    }
  }

  /// Where a job finds itself: the address of its host.
  private static let whereami = "ip -o -4 address show dev eth0 | grep -c"

  @Test(arguments: Host.available) func itIsATarget(_ host: Host) async throws {
    try await withTarget(host) { a, second, uri in
      let socket = try #require(uri.split(separator: second.address).last)
      #expect(access(String(socket), F_OK) != 0, "its socket can be seen from here")
      let script = "\(Self.whereami) '\(second.address)/'; cat; exit 3"
      let mirrored = try await a("run", "-S", "system.delegate=far", "sh", "-c", script, input: "from home\n")
      #expect(mirrored.code == 3 && mirrored.out == "1\nfrom home\n", "\(mirrored)")
      let handed = try await a("submit", "--dependency=delegate:\(uri)", "true").out.trimmed
      let log = try await eventually {
        try await a("job", "eventlog", handed)
      } until: {
        $0.out.contains(" clean")
      }
      #expect(log.out.contains("type=\"DelegationSuccess\""), "\(log)")
      let there = try await run(
        [Build.executable, "jobs", "-a", "-n", "-o", "{name}"], uri: uri, environment: second.environment)
      #expect(there.lines.sorted() == ["sh", "true"], "\(there)")
    }
  }

  /// The cable is cut for so long that the agent takes the connection for dead: nothing is refused, there is just no answer.
  @Test(arguments: Host.available) func theNetworkIsCut(_ host: Host) async throws {
    try await withTarget(host) { a, second, uri in
      let script = "for i in $(seq 1 40); do echo line $i; sleep 0.2; done; exit 5"
      let id = try await a("submit", "-S", "system.delegate=far", "sh", "-c", script).out.trimmed
      _ = try await a("job", "wait-event", "-t", "120", id, "start")
      try await second.setLink(isUp: false)
      try await expectUnknown(a, "ssh://\(second.address)")
      try await second.setLink(isUp: true)
      let attached = try await run([host.program, "job", "attach", id], uri: a.uri)
      #expect(attached.code == 5 && attached.out == (1...40).map { "line \($0)\n" }.joined(), "\(attached)")
      let there = try await run([Build.executable, "jobs", "-a", "-n"], uri: uri, environment: second.environment)
      #expect(there.lines.count == 1, "\(there)")
    }
  }
}
