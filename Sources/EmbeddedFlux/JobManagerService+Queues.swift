// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-manager.queue-*`: what `flux queue` asks.
extension JobManagerService {
  func queueStatus(_ request: Request) throws(ServiceError) {
    broker.respond(request, try manager.queues.status(request.payload["name"]?.stringValue))
  }

  func queueEnable(_ request: Request) throws(ServiceError) {
    let (name, all) = try target(request)
    guard let isEnabled = request.payload["enable"]?.boolValue else { throw .malformed(request.topic, "enable") }
    let reason = request.payload["reason"]?.stringValue
    if !isEnabled, reason == nil { throw ServiceError(.invalid, "reason is required for disable") }
    try checkAll(name, all)
    try manager.queues.enable(name, isEnabled, reason: reason)
    manager.keepQueues()
    broker.respond(request)
  }

  func queueStart(_ request: Request) throws(ServiceError) {
    let (name, all) = try target(request)
    guard let isStarted = request.payload["start"]?.boolValue else { throw .malformed(request.topic, "start") }
    try checkAll(name, all)
    try manager.queues.start(name, isStarted, reason: request.payload["reason"]?.stringValue)
    manager.keepQueues()
    manager.queuesChanged()
    broker.respond(request)
    checkIdle()
  }

  private func target(_ request: Request) throws(ServiceError) -> (name: String?, all: Bool) {
    guard let all = request.payload["all"]?.boolValue else { throw .malformed(request.topic, "all") }
    return (request.payload["name"]?.stringValue, all)
  }

  private func checkAll(_ name: String?, _ all: Bool) throws(ServiceError) {
    if name == nil, !manager.queues.names.isEmpty, !all {
      throw ServiceError(.invalid, "Use --all to apply this command to all queues")
    }
  }
}
