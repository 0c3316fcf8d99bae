// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// How a machine waits, and how it ends.
extension DelegatedJob {
  // MARK: The end

  mutating func conclude(_ ending: Ending) -> [Action] {
    self.ending = ending
    // One that has run is let go by us alone.
    if mirror.hasBegun { isKept = true }
    state = .concluding
    switch ending {
    case .success(let remote):
      let note = "\(target?.uri.description ?? "") has accepted the job as \(remote)"
      return [.raise(type: "DelegationSuccess", severity: 0, note: note)]
    case .failure(let words): return [.raise(type: "DelegationFailure", severity: 0, note: words)]
    }
  }

  /// - Parameter isHandedOver: whether another agent takes over.
  mutating func end(isHandedOver: Bool = false) -> [Action] {
    guard state != .ended else { return [] }
    state = .ended
    reason = nil
    if isHandedOver { return [.forget] }
    return letGo() + (mayHaveLogs && !mirror.hasBegun ? [.discard] : []) + [.forget]
  }

  /// Nothing holds the job in CLEANUP any more.
  private mutating func letGo() -> [Action] {
    guard isKept else { return [] }
    isKept = false
    let status = mirror.hasBegun && !mirror.isFinished ? WaitStatus(signal: 15) : nil
    return [.release(mirror.holds, status, hasLogs: mirror.hasBegun && !mirror.isClosed)]
  }

  /// How many tries a job that was ended is kept for while its target cannot be reached. After that it is gone from home, and its copy is
  /// still cancelled as soon as that is possible.
  static let keepingTries = 5

  // MARK: Pauses

  mutating func pause(_ next: Next, _ words: String) -> [Action] {
    reason = words
    let pause = min(limits.firstPause * Double(1 << min(tries, 16)) * jitter, limits.longestPause)
    tries += 1
    state = .pausing(next)
    guard wasCancelled, isKept, tries >= Self.keepingTries else { return [.pause(pause)] + showWait(next, words) }
    return [.complain("\(id): it was ended, and its copy cannot be cancelled yet: \(words)"), .pause(pause)] + letGo()
  }

  /// That it waits for a target that cannot be asked is shown when that lasts.
  private mutating func showWait(_ next: Next, _ words: String) -> [Action] {
    guard next == .look || next == .search, tries > 1 else { return [] }
    return show(wait: words)
  }

  /// About 1, by job and try: thousands of jobs do not ask at the same moments, and nothing here is random.
  private var jitter: Double {
    var mixed = id.rawValue &+ UInt64(tries) &* 0x9e37_79b9_7f4a_7c15
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return 1 + limits.jitter * (2 * Double((mixed ^ (mixed >> 31)) >> 11) / Double(1 << 53) - 1)
  }

  mutating func resume() -> [Action] {
    guard case .pausing(let next) = state else { return [] }
    if !next.asksTarget { reason = nil }
    switch next {
    case .read:
      state = .reading
      return [.read(nil)]
    case .search: return search()
    case .select: return wasCancelled ? unselected() : select()
    case .look: return look()
    case .submit: return wasCancelled ? end() : submit()
    case .record(let remote): return wasCancelled ? cancelRemote(remote) : write(remote)
    case .release(let remote): return wasCancelled ? cancelRemote(remote) : release(remote)
    case .abandon(let words): return wasCancelled ? end() : abandon(words)
    case .renew: return wasCancelled ? end() : renew()
    case .conclude: return ending.map { conclude($0) } ?? end()
    case .cancel(let remote): return cancelRemote(remote)
    case .follow(let remote): return wasCancelled ? cancelRemote(remote) : follow(remote)
    case .mirror(let remote):
      state = .mirroring(remote)
      return wasCancelled ? cancelRemote(remote) : advance()
    }
  }
}
