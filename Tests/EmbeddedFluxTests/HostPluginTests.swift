// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import NIOPosix
import Testing

@testable import EmbeddedFlux

/// What the instance remembers of a plugin.
@Suite struct HostPluginTests {
  /// An event's name is whatever a client gives it.
  @Test func longTopicsAreNotRemembered() async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let reactor = try ProcessReactor(loop)
    try await loop.submit {
      let broker = Broker(loop: loop, logger: InstanceTests.logger)
      let host = PluginHost(broker, LogService(broker), reactor)
      // The program itself will do: none of its functions is called.
      let library = try #require(dlopen(nil, RTLD_NOW))
      let plugin = HostPlugin(path: "x.so", fileName: "x.so", configuration: nil, host: host, library: library)
      defer { plugin.unload() }
      let arguments = HostArguments(input: { [:] }, output: [:])
      let short = String(repeating: "x", count: HostPlugin.maximumRemembered)
      for topic in [short, short + "x", short + "y"] { #expect(plugin.call(topic, arguments) == nil) }
      #expect(plugin.rememberedCount == 1)
    }.get()
    try await reactor.stop()
  }
}
