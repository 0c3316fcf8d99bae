// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// A copy at a target.
final class RemoteJob {
  enum State { case pending, running, ending, over }

  /// What its target's journal says of it.
  enum Event {
    case urgency(Int)
    case alloc
    case start(Double)
    case exception(String)
    case finish(Double, WaitStatus)
    case clean
  }

  let id: JobID
  let mark: Mark
  unowned let owner: OriginJob
  let submitted: Double
  /// From when on it is in lists.
  let listed: Double
  var urgency = 0
  var state = State.pending
  var events: [Event] = [.urgency(0)]
  var status: WaitStatus?
  var exception: String?
  var startIsPlanned = false
  var hasStarted = false
  /// Whether its target has forgotten it while it was held.
  var wasLostBeforeItsRelease = false
  private var waiters: [() -> Void] = []

  init(id: JobID, mark: Mark, owner: OriginJob, submitted: Double, listed: Double) {
    self.id = id
    self.mark = mark
    self.owner = owner
    self.submitted = submitted
    self.listed = listed
  }

  var isActive: Bool { state != .over }

  /// Whether nobody has to do anything for it to run, or it runs.
  var isReleased: Bool { state == .running || (state == .pending && urgency > 0) }

  /// Tells when no process of it runs any more.
  func whenEnded(_ work: @escaping () -> Void) {
    if state == .over { work() } else { waiters.append(work) }
  }

  /// Nobody waits any more.
  func abandon() { waiters = [] }

  func tellWaiters() {
    guard state == .over else { return }
    for work in waiters { work() }
    waiters = []
  }

  static let resources = RemoteResources(
    ResourceSet(
      ranks: [ResourceSet.Rank(rank: 0, host: "t", cores: [0], gpus: [])], startTime: 0, expiration: 0, properties: [:])
  )

  /// As the agent's journal tells it, with the resources or without.
  static func told(_ event: Event, hasResources: Bool) -> RemoteEvent? {
    switch event {
    case .urgency(let urgency): .urgency(urgency)
    case .alloc: nil
    case .start(let time): hasResources ? .started(at: time, resources) : nil
    case .exception(let type): .exception(type: type, note: "as planned")
    case .finish(let time, let status): .finished(at: time, status)
    case .clean: .over
    }
  }
}
