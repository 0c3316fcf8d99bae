// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// The open streams of a service, each with what the service keeps for it.
struct StreamSet<State> {
  private(set) var streams: [UInt64: (request: Request, state: State)] = [:]
  private var next: UInt64 = 0

  var count: Int { streams.count }

  /// Adds a stream and returns its number.
  mutating func add(_ request: Request, _ state: State) -> UInt64 {
    next += 1
    streams[next] = (request, state)
    return next
  }

  /// Removes a stream and returns its request.
  @discardableResult
  mutating func remove(_ number: UInt64) -> Request? { streams.removeValue(forKey: number)?.request }

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
    for number in gone.keys { streams[number] = nil }
    return gone.values.map(\.state)
  }
}
