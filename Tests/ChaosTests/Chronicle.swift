// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// What the harness has done, and to whom.
actor Chronicle {
  private(set) var kills: [Evidence.Kill] = []
  private(set) var troubles: [Evidence.Trouble] = []
  private(set) var counts: [Fault.Kind: Int] = [:]

  static var now: Double {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  func count(_ kind: Fault.Kind) { counts[kind, default: 0] += 1 }

  func killed(_ target: String, isDurable: Bool) {
    kills.append(Evidence.Kill(target: target, time: Self.now, isDurable: isDurable))
  }

  /// The ways to these targets are in trouble from now on, for so many seconds.
  func trouble(_ targets: Set<String>, for seconds: Double = 0) {
    troubles.append(Evidence.Trouble(targets: targets, from: Self.now, to: Self.now + seconds))
  }

  func sum(where isWanted: (Fault.Kind) -> Bool) -> Int {
    counts.filter { isWanted($0.key) }.values.reduce(0, +)
  }
}
