// SPDX-License-Identifier: LGPL-3.0-only

import NIOCore
import NIOPosix

/// The connections of a ``Forwarder``, on its event loop.
final class Switchboard {
  private let target: String
  private let loop: any EventLoop
  private var ends: [ObjectIdentifier: ForwarderEnd] = [:]
  private var manners: [Forwarder.Way: Forwarder.Manner] = [:]
  var isRefusing = false

  init(_ target: String, _ loop: any EventLoop) {
    self.target = target
    self.loop = loop
  }

  func manner(_ way: Forwarder.Way) -> Forwarder.Manner { manners[way] ?? .pass }

  /// A client has connected: the other half of its connection is made.
  func accept(_ client: any Channel) {
    guard !isRefusing else { return client.close(promise: nil) }
    let box = NIOLoopBound(self, eventLoop: loop)
    ClientBootstrap(group: loop)
      .channelOption(.autoRead, value: false)
      .connect(unixDomainSocketPath: target)
      .whenComplete { result in
        switch result {
        case .success(let server): box.value.join(client, server)
        case .failure: client.close(promise: nil)
        }
      }
  }

  private func join(_ client: any Channel, _ server: any Channel) {
    let near = ForwarderEnd(self, .requests, to: server)
    let far = ForwarderEnd(self, .answers, to: client)
    do {
      try client.pipeline.syncOperations.addHandler(near)
      try server.pipeline.syncOperations.addHandler(far)
    } catch {
      client.close(promise: nil)
      server.close(promise: nil)
      return
    }
    ends[ObjectIdentifier(near)] = near
    ends[ObjectIdentifier(far)] = far
    near.update()
    far.update()
  }

  func forget(_ end: ForwarderEnd) { ends[ObjectIdentifier(end)] = nil }

  func set(_ manner: Forwarder.Manner, _ ways: [Forwarder.Way]) {
    for way in ways { manners[way] = manner }
    for end in ends.values { end.update() }
  }

  func loseFarHalves() { for end in ends.values where end.way == .answers { end.close() } }

  func cut() { for end in ends.values { end.close() } }
}
