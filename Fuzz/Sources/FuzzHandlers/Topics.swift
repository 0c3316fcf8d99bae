// SPDX-License-Identifier: LGPL-3.0-only

@testable import EmbeddedFlux

/// All topics that the instance answers, as it says itself, and a few that others give it.
enum Topics {
  /// A job's service, whose name has the job's id; a service of a client's; and what every service has.
  private static let others = ["$shell", "mine.method", "mine.stream", "broker.ping"]

  /// In the order of their places.
  static let all: [(place: UInt16, topic: String)] = {
    let world = World(EmbeddedInstance.Configuration(nodes: 1, coresPerNode: 1), shows: false)
    let topics = world.broker.topics + others
    world.end()
    return topics.map { (place(of: $0), $0) }.sorted { $0 < $1 }
  }()

  /// Where a topic is between 0 and 65535: by its name alone, so that what inputs mean hardly changes when there are more topics.
  static func place(of topic: String) -> UInt16 {
    let hash = topic.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
    return UInt16(truncatingIfNeeded: hash ^ hash >> 16)
  }

  /// The topic at that place, or the next one.
  static func topic(_ place: UInt16) -> String { (all.first { $0.place >= place } ?? all[0]).topic }
}
