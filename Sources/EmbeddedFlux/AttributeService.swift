// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// `attr.*`: what `flux getattr`, `lsattr` and `setattr` ask for.
final class AttributeService: Service {
  /// The most attributes, and the longest name and value in bytes.
  static let maximum = 256
  static let maximumLength = 64 << 10
  /// Those that Flux lets its users set. They are kept, and mean nothing here.
  private static let settable: Set<String> = [
    "broker.exit-restart", "broker.module-nopanic", "conf.shell_initrc", "conf.shell_pluginpath", "content.dump",
    "content.restore", "log-stderr-level", "tbon.interface-hint",
  ]

  private unowned let broker: Broker
  /// What the instance is: that does not change.
  private let fixed: [String: String]
  private var set: [String: String] = [:]

  init(_ broker: Broker, _ attributes: [String: String]) {
    self.broker = broker
    fixed = attributes
  }

  private enum Topic: String, ServiceTopic {
    case get = "attr.get"
    case list = "attr.list"
    case set = "attr.set"
    case rm = "attr.rm"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .get:
      let name = try request.string("name")
      guard let value = fixed[name] ?? set[name] else { throw ServiceError(.noEntry) }
      broker.respond(request, ["value": .string(value), "flags": fixed[name] == nil ? 0 : 1])
    case .list:
      broker.respond(request, ["names": .array((Array(fixed.keys) + Array(set.keys)).sorted().map { .string($0) })])
    case .set: try set(request)
    case .rm:
      let name = try request.string("name")
      guard fixed[name] == nil else { throw ServiceError(.notPermitted) }
      set[name] = nil
      broker.respond(request)
    }
  }

  private func set(_ request: Request) throws(ServiceError) {
    let name = try request.string("name")
    let value = try request.string("value")
    if fixed[name] != nil {
      // Not even by force, as in Flux.
      guard request.payload["force"]?.boolValue == true else {
        throw ServiceError(.invalid, "attribute may not be updated")
      }
      throw ServiceError(.notPermitted)
    }
    guard Self.settable.contains(name) || name.hasPrefix("test.") || name.hasPrefix("vendor.") else {
      throw ServiceError(.noEntry, "unknown attribute")
    }
    guard name.utf8.count + value.utf8.count <= Self.maximumLength, set[name] != nil || set.count < Self.maximum else {
      throw ServiceError(
        .overflow, "there may be \(Self.maximum) attributes of \(Self.maximumLength >> 10) KiB: remove some")
    }
    set[name] = value
    broker.respond(request)
  }
}
