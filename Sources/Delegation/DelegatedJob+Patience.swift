// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A target that cannot be seen, or takes no jobs now: waiting, and going elsewhere.
///
/// Unreachable is not failed. A job goes elsewhere only when its patience is over, another target is connected at that moment (an outage at home
/// condemns nobody), and either a copy at the first one has never run and never will, for it is not on record, or its owner wants
/// ``Delivery/atLeastOnce``.
extension DelegatedJob {
  // MARK: Limits of targets

  /// The target takes no jobs now.
  mutating func deferred(_ words: String) -> [Action] {
    switch state {
    case .choosing:
      if wasCancelled { return end() }
      isChoiceAsked = false
      if isAdmitted { return choose() }
    case .submitting:
      if wasCancelled { return end() }
      // The answer was overtaken by the end of what it tells of.
      if isAdmitted { return submit() }
      state = .queueing
    case .reconsidering(let next): return nowhereElse(next)
    default: return late("a delay")
    }
    reason = words
    return show(wait: words)
  }

  /// Shows in listings why it waits, once.
  mutating func show(wait words: String) -> [Action] {
    guard shownWait != words else { return [] }
    shownWait = words
    return [.annotate(["delegate": ["waits": .string(words)]])]
  }

  /// What has deferred the job may be over. That it comes late is no mistake.
  mutating func admissible() -> [Action] {
    switch state {
    case .choosing where !isChoiceAsked:
      reason = nil
      return choose()
    case .queueing:
      reason = nil
      return submit()
    case .choosing, .submitting:
      isAdmitted = true
      return []
    default: return []
    }
  }

  // MARK: Sight

  /// The target answers.
  mutating func seen() {
    sightings += 1
    isWaitingForSight = false
    isImpatient = false
    isBackInSight = false
  }

  /// The target cannot be seen, with a copy of the job perhaps. It is tried again; or another target is, when the patience is over.
  mutating func unseen(_ next: Next, _ words: String) -> [Action] {
    guard let target, let request, !wasCancelled else { return pause(next, words) }
    if isImpatient, mayTryAnother, mirror.isQuiet, !mirror.hasEnd {
      reason = words
      state = .reconsidering(next)
      return [.choose(request, excluding: tried, isReachable: true)]
    }
    guard !isWaitingForSight, mayTryAnother, !mirror.hasEnd else { return pause(next, words) }
    isWaitingForSight = true
    return pause(next, words) + [
      .awaitPatience(
        target.uri, request.delivery, patience: request.patience, isHeld: next == .look && !mayHaveLostEvents,
        number: sightings)
    ]
  }

  /// Whether the origin may have forgotten that a copy was released.
  private var mayHaveLostEvents: Bool { (record?.submitted ?? 0) < originStart }

  /// The patience is over. Time may have passed in which nobody has looked, so it is looked once more.
  mutating func impatient(_ number: Int) -> [Action] {
    guard number == sightings, !wasCancelled else { return [] }
    isImpatient = true
    switch state {
    case .pausing(.look), .pausing(.follow): return resume()
    default: return []
    }
  }

  /// The target is connected again: nobody need wait for the end of a pause, or go elsewhere.
  mutating func reachable() -> [Action] {
    switch state {
    case .pausing: return resume()
    case .reconsidering:
      isBackInSight = true
      return []
    default: return []
    }
  }

  /// Another target can take the job.
  mutating func reconsidered(_ other: Target, instead next: Next) -> [Action] {
    guard !wasCancelled, !isBackInSight else { return nowhereElse(next) }
    successor = other
    let words = "it cannot be seen: \(reason ?? "")"
    return abandon(named("\(target?.name ?? ""): \(words)"))
  }

  /// No other target can: the job waits where it is, for as long again.
  mutating func nowhereElse(_ next: Next) -> [Action] {
    let words = reason ?? ""
    let isBack = isBackInSight
    seen()
    state = .pausing(next)
    return wasCancelled || isBack ? resume() : unseen(next, words)
  }

  // MARK: Another attempt

  /// That the attempt has failed is on record.
  mutating func abandoned() -> [Action] {
    var actions: [Action] = []
    // A copy may be left where it was given up out of sight.
    if successor != nil, let target { actions = [.sweep(target.uri)] }
    nextAttempt()
    return actions + (wasCancelled ? end() : goOn())
  }

  /// Goes on with the next attempt.
  mutating func goOn() -> [Action] {
    // What a new attempt prints does not come after what the one before has printed.
    if mirror.hasToBeRenewed { return renew() }
    guard let successor else { return choose() }
    self.successor = nil
    state = .choosing
    return chosen(successor)
  }

  mutating func renew() -> [Action] {
    state = .renewing
    return [.renew]
  }
}
