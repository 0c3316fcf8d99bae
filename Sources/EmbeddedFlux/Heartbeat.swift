// SPDX-License-Identifier: LGPL-3.0-only

import NIOCore

/// The event `heartbeat.pulse`, for those who have subscribed to it: `flux top` draws by it. Nobody wakes up while nobody has.
final class Heartbeat {
  static let topic = "heartbeat.pulse"
  /// Seconds from one to the next, as in Flux.
  static let period = 2.0

  private unowned let broker: Broker
  private var timer: Scheduled<Void>?

  init(_ broker: Broker) {
    self.broker = broker
    broker.subscribed = { [weak self] prefix in if Self.topic.hasPrefix(prefix) { self?.arm() } }
  }

  private func arm() {
    guard timer == nil else { return }
    timer = broker.after(Self.period) { [weak self] in self?.beat() }
  }

  private func beat() {
    timer = nil
    guard broker.hasSubscribers(to: Self.topic) else { return }
    broker.publish(Self.topic, [:])
    arm()
  }

  func stop() {
    timer?.cancel()
    timer = nil
  }
}
