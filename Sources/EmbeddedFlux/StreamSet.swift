// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The open streams of a service, each with what the service keeps for it.
struct StreamSet<State> {
  private(set) var streams: [UInt64: (request: Request, state: State)] = [:]
  private var next: UInt64 = 0
  /// How many streams each client has, with all that are behind it.
  private var counts: [String: Int] = [:]
  private let maximum: Int

  /// - Parameter maximum: the most streams of one client.
  init(maximum: Int = StreamLimit.maximumPerClient) { self.maximum = maximum }

  var count: Int { streams.count }

  /// Adds a stream and returns its number. What its request has asked for is not kept: that is in the state.
  ///
  /// - Throws: EBUSY when its client has too many.
  mutating func add(_ request: Request, _ state: State) throws(ServiceError) -> UInt64 {
    let client = request.sender.first ?? ""
    guard counts[client] ?? 0 < maximum else {
      throw ServiceError(.busy, "a client may have \(maximum) requests open of this kind")
    }
    counts[client, default: 0] += 1
    next += 1
    streams[next] = (request.withoutPayload, state)
    return next
  }

  /// Removes a stream and returns its request.
  @discardableResult
  mutating func remove(_ number: UInt64) -> Request? {
    guard let request = streams.removeValue(forKey: number)?.request else { return nil }
    let client = request.sender.first ?? ""
    let left = (counts[client] ?? 1) - 1
    counts[client] = left > 0 ? left : nil
    return request
  }

  mutating func update(_ number: UInt64, _ state: State) { streams[number]?.state = state }

  /// The stream that a cancel request means: same sender, and the match tag that it names.
  func find(cancelledBy request: Request) -> UInt64? {
    guard let tag = request.payload["matchtag"]?.intValue else { return nil }
    return streams.first {
      $0.value.request.message.matchTag == UInt32(truncatingIfNeeded: tag) && $0.value.request.sender == request.sender
    }?.key
  }

  /// Drops the streams of somebody who has gone, and returns what was kept for them.
  @discardableResult
  mutating func drop(_ departure: Departure) -> [State] {
    let gone = streams.filter { departure.concerns($0.value.request.sender) }
    for number in gone.keys { remove(number) }
    return gone.values.map(\.state)
  }
}

/// What a client may keep open.
enum StreamLimit {
  /// The most requests of one kind that a client may have open: an agent follows each of its jobs with a few.
  static let maximumPerClient = 1 << 18
  /// The most listings and the most journals that a client may have open: each remembers which jobs it has still to tell of.
  static let maximumOfAllJobs = 64
}
