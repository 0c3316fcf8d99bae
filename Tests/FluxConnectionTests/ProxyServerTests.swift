// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

/// A proxy with real sockets on both sides.
@Suite(.timeLimit(.minutes(10))) struct ProxyServerTests {
  /// Answers two requests, and expects a disconnect for each of their senders.
  private func serve(_ session: TwinSession, then gone: Signal) async throws {
    var senders: Set<String> = []
    for _ in 0..<2 {
      let request = try await session.next()
      #expect(request.routes?.count == 1)
      senders.formUnion(request.routes ?? [])
      try await session.answer(request, request.json())
    }
    #expect(senders.count == 2)
    let ends = [try await session.next(), try await session.next()]
    #expect(ends.allSatisfy { $0.topic == "a.disconnect" && $0.options == .noResponse && $0.payload == nil })
    #expect(Set(ends.flatMap { $0.routes ?? [] }) == senders)
    gone.fire()
    await #expect(session.untilEnd() == [])
  }

  /// Two clients ask through the proxy at `path`, and leave.
  private func ask(_ path: String, until gone: Signal) async throws {
    let uri = FluxURI(local: path)
    try await FluxConnection.withConnection(to: uri, logger: Twin.logger) { first in
      try await FluxConnection.withConnection(to: uri, logger: Twin.logger) { second in
        try await #expect(first.rpc("a.b", ["from": 1]) == ["from": 1])
        try await #expect(second.rpc("a.b", ["from": 2]) == ["from": 2])
      }
    }
    await gone.wait()
  }

  @Test func throughASocket() async throws {
    let gone = Signal()
    try await TemporaryDirectory.with { directory in
      let path = "\(directory.path)/proxy"
      try await Twin.with {
        try await serve($0, then: gone)
      } body: { twin in
        try await ProxyServer.withServer(to: twin.uri, listeningOn: path, logger: Twin.logger) { server in
          try await ask(server.path, until: gone)
        }
      }
    }
  }

  @Test(.enabled(if: FakeSSH.canRelay, "no python3 here")) func throughSSH() async throws {
    let gone = Signal()
    try await FakeSSH.with(FakeSSH.relay) { ssh in
      let path = "\(ssh.directory.path)/proxy"
      try await Twin.with {
        try await serve($0, then: gone)
      } body: { twin in
        try await ProxyServer.withServer(
          to: FluxURI(parsing: "ssh://far\(twin.path)"), listeningOn: path, configuration: ssh.configuration,
          logger: Twin.logger
        ) { server in try await ask(server.path, until: gone) }
      }
    }
  }

  /// An ssh whose network is dead does not end when its input does.
  @Test func anSSHThatDoesNotEnd() async throws {
    let clock = ContinuousClock()
    let start = clock.now
    try await FakeSSH.with(#"printf '\000'; exec sleep 200"#) { ssh in
      try await ProxyServer.withServer(
        to: FluxURI(parsing: "ssh://far/s"), listeningOn: "\(ssh.directory.path)/proxy",
        configuration: ssh.configuration, logger: Twin.logger
      ) { _ in }
    }
    // Far less than that, however busy the machine is.
    #expect(clock.now - start < .seconds(100))
  }

  /// Fails to start a proxy.
  private func fail(
    _ uri: FluxURI, _ configuration: FluxConnection.Configuration, at location: SourceLocation = #_sourceLocation
  ) async throws -> ConnectionError? {
    try await TemporaryDirectory.with { directory in
      await #expect(throws: ConnectionError.self, sourceLocation: location) {
        try await ProxyServer.withServer(
          to: uri, listeningOn: "\(directory.path)/proxy", configuration: configuration, logger: Twin.logger
        ) { _ in Issue.record("started", sourceLocation: location) }
      }
    }
  }

  @Test func noInstance() async throws {
    var configuration = FluxConnection.Configuration()
    configuration.localRetries = 1
    try await #expect(fail(FluxURI(local: "/tmp/fc-nothing"), configuration)?.code == .noSocket)
    configuration.environment = ["FLUX_SSH": "/tmp/fc-nothing"]
    let error = try await fail(FluxURI(parsing: "ssh://far/s"), configuration)
    #expect(error?.code == .ssh && error?.message.contains("FLUX_SSH") == true)
  }

  @Test(arguments: [([1], "refused"), (Array("Welcome".utf8), "not-flux"), ([], "silent")])
  func anInstanceThatDoesNotGreet(greeting: [UInt8], code: String) async throws {
    var configuration = FluxConnection.Configuration()
    configuration.localTimeout = greeting.isEmpty ? .milliseconds(300) : .seconds(30)
    let frozen = configuration
    let error = try await Twin.with(greeting: greeting) {
      await $0.untilEnd()
    } body: { twin in
      try await fail(twin.uri, frozen)
    }
    #expect(error?.code.rawValue == code)
  }

  @Test func theLossOfTheInstance() async throws {
    try await TemporaryDirectory.with { directory in
      let path = "\(directory.path)/proxy"
      try await Twin.with {
        try await $0.answer($0.next())
      } body: { twin in
        try await ProxyServer.withServer(to: twin.uri, listeningOn: path, logger: Twin.logger) { server in
          try await FluxConnection.withConnection(to: FluxURI(local: path), logger: Twin.logger) { client in
            try await client.rpc("a.b")
            await client.waitForClose()
          }
          await server.waitForLoss()
        }
      }
    }
  }
}
