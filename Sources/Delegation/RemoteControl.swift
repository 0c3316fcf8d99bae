// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the owner has asked of a job at its origin, and what of it the remote job has been told.
///
/// One request is under way at a time, in the order: release, urgency, updates of the jobspec, signals. What cannot be delivered is kept until
/// the target is followed again; what the target refuses is dropped, for it will refuse it again.
struct RemoteControl: Hashable, Sendable {
  /// The most signals that wait; later ones are dropped, and it is said so.
  static let maximumSignals = 64

  /// The urgency that the job has at its origin.
  private(set) var urgency = 16
  /// The remote job's, as far as it is known.
  private var remoteUrgency: Int?
  /// Whether the remote job still is as it was submitted: held, until its id is on record at the origin.
  private var isUnreleased = false
  /// Whether the owner has changed the urgency since the remote job was submitted.
  private var urgencyIsDue = false
  private var updates = JSONObject()
  private var signals: [Int] = []
  private(set) var underWay: DelegatedJob.Control?
  /// Whether what is under way went to the target of an attempt that is over: its answer means nothing.
  private(set) var isOutdated = false

  // MARK: What is wanted

  /// The urgency that the job was submitted with.
  mutating func submitted(urgency: Int) { self.urgency = urgency }

  /// An event of the origin job. Telling the target twice does no harm, so it does not matter which agent has noted it.
  mutating func note(origin entry: EventlogEntry) {
    switch entry.name {
    case "submit", "urgency":
      guard let new = entry.context?["urgency"]?.intValue else { return }
      urgency = Int(new)
      urgencyIsDue = entry.name == "urgency"
    case "jobspec-update":
      // What the mirror itself sets does not concern the target.
      for (key, value) in entry.context ?? [:] where !key.hasPrefix("attributes.system.exec.") { updates[key] = value }
    default: break
    }
  }

  /// The owner's changes so far go into a jobspec that is about to be sent.
  mutating func apply(to jobspec: inout Jobspec) {
    for (key, value) in updates where key.hasPrefix("attributes.") { jobspec.set(attribute: key, to: value) }
    updates = [:]
    urgencyIsDue = false
  }

  /// - Returns: false when too many wait.
  mutating func add(signal: Int) -> Bool {
    guard signals.count < Self.maximumSignals else { return false }
    signals.append(signal)
    return true
  }

  // MARK: What the remote job is known to have

  mutating func note(remoteUrgency: Int) {
    if self.remoteUrgency == nil {
      isUnreleased = remoteUrgency == 0
    } else if remoteUrgency != 0 {
      // Told again that it was submitted held, one knows no more than before.
      isUnreleased = false
    }
    self.remoteUrgency = remoteUrgency
  }

  /// It runs, so its urgency means nothing any more.
  mutating func started() {
    isUnreleased = false
    urgencyIsDue = false
  }

  // MARK: Requests

  /// The next request, when none is under way and there is one.
  ///
  /// - Parameter isCancelled: whether the owner has cancelled the job. Then only signals go on: a change that had to wait might let a copy go that is
  ///   held, and what still runs may have to be killed.
  mutating func next(isCancelled: Bool) -> DelegatedJob.Control? {
    guard underWay == nil else { return nil }
    underWay = (isCancelled ? nil : dueChange) ?? signals.first.map { .signal($0) }
    return underWay
  }

  private var dueChange: DelegatedJob.Control? {
    if let remoteUrgency, urgency != remoteUrgency, urgencyIsDue || isUnreleased { return .urgency(urgency) }
    return updates.isEmpty ? nil : .update(updates)
  }

  /// The answer to a request of an attempt that is over.
  ///
  /// - Returns: whether it was one.
  mutating func answeredTooLate() -> Bool {
    guard isOutdated else { return false }
    isOutdated = false
    underWay = nil
    return true
  }

  /// The target has done it, or refused it.
  mutating func answered() {
    switch underWay {
    case .urgency(let urgency):
      isUnreleased = false
      remoteUrgency = urgency
      urgencyIsDue = urgency != self.urgency
    case .update(let sent): for (key, value) in sent where updates[key] == value { updates[key] = nil }
    case .signal: if !signals.isEmpty { signals.removeFirst() }
    case nil: break
    }
    underWay = nil
  }

  /// It may not have reached the target.
  mutating func unanswered() { underWay = nil }

  /// The target tells anew what the remote job has: what it was told and did not answer may have been lost.
  mutating func followedAnew() {
    remoteUrgency = nil
    isUnreleased = false
  }

  /// A job that runs at its origin cannot be held there, so that nobody could let it go.
  mutating func release() { if urgency == 0 { urgency = 16 } }

  /// Signals are for the processes that run now, not for those of another attempt.
  mutating func restart(isRunning: Bool) {
    if isRunning { release() }
    remoteUrgency = nil
    isUnreleased = false
    urgencyIsDue = false
    isOutdated = underWay != nil
    signals = []
  }
}
