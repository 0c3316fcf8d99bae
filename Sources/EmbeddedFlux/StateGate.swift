// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire

/// Which messages have to do with what the state directory keeps. Pure.
enum StateGate {
  static let submission = "job-ingest.submit"

  private static let changing: Set<String> = [
    submission, "job-manager.raise", "job-manager.raiseall", "job-manager.urgency", "job-manager.memo",
    "job-manager.update", "job-manager.post-event.post", "job-manager.queue-enable", "job-manager.queue-start",
    "job-manager.purge", "job-manager.purge-id", "resource.drain", "resource.undrain",
    "kvs.commit", "kvs.namespace-create", "kvs.namespace-remove",
  ]

  private static let open: Set<String> = [
    "job-manager.list", "job-manager.getinfo", "job-manager.stats-get", "job-manager.history.get",
    "job-manager.queue-list", "job-manager.queue-status", "job-manager.jobtap-query",
  ]

  private static let openServices: Set<Substring> = [
    "attr", "config", "log", "event", "service", "job-list", "state-machine", "shutdown", "groups", "resource", "sched",
    "feasibility",
  ]

  /// Whether a request changes what is kept: it is refused while nothing can be written.
  static func changes(_ topic: String) -> Bool { changing.contains(topic) }

  /// Whether a message need not wait while nothing can be written: listings and the log, which acknowledge nothing.
  static func passes(_ message: Message) -> Bool { message.kind == .response && isOpen(message) }

  /// Whether a request, or the answer to one, is about nothing that is kept.
  static func isOpen(_ message: Message) -> Bool {
    guard let topic = message.topic else { return false }
    return open.contains(topic) || openServices.contains(message.service ?? "")
  }
}
