// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `groups.get`: which brokers are there. All are, always.
final class GroupService: Service {
  private unowned let broker: Broker
  private let members: IDSet

  init(_ broker: Broker, _ members: IDSet) {
    self.broker = broker
    self.members = members
  }

  private enum Topic: String, ServiceTopic {
    case get = "groups.get"
  }

  var topics: [String] { Topic.all }

  func handle(_ request: Request) throws(ServiceError) {
    switch try Topic(request) {
    case .get: try get(request)
    }
  }

  private func get(_ request: Request) throws(ServiceError) {
    guard ["broker.online", "broker.torpid"].contains(try request.string("name")) else {
      throw ServiceError(.noEntry, "No such group")
    }
    let isOnline = try request.string("name") == "broker.online"
    broker.respond(request, ["members": .string(isOnline ? members.description : "")])
  }
}
