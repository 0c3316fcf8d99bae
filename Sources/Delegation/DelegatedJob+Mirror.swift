// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What happens to the remote job of a mirrored one, and what its owner wants of it.
extension DelegatedJob {
  mutating func follow(_ remote: JobID) -> [Action] {
    guard let target else { return late("a remote job without a target") }
    state = .mirroring(remote)
    isFollowing = false
    mirror.restart()
    control.followedAnew()
    return [.follow(target.uri, remote)]
  }

  mutating func following() -> [Action] {
    switch state {
    case .mirroring: tries = 0
    // The origin did not take a step, which is tried again soon: the target is in sight all the same.
    case .pausing(.mirror): break
    default: return []
    }
    isFollowing = true
    reason = nil
    seen()
    guard isUnknown else { return advance() }
    isUnknown = false
    return [.annotate(["delegate": ["unknown": .null]])] + advance()
  }

  mutating func remote(_ events: [RemoteEvent]) -> [Action] {
    for event in events {
      mirror.note(remote: event)
      switch event {
      case .urgency(let urgency): control.note(remoteUrgency: urgency)
      case .started: control.started()
      default: break
      }
    }
    switch state {
    case .mirroring, .pausing(.mirror): break
    default: return []
    }
    var actions: [Action] = []
    for event in events {
      if let words = mirror.refusal(of: event) { actions.append(.complain("\(id): its target tells of \(words)")) }
      if case .started(_, let resources) = event, !resources.isKnown {
        actions.append(.complain("\(id): its resources cannot be shown: what the target says of them cannot be used"))
      }
      if case .memo(let memo) = event, mirror.isNew(memo: memo) { actions.append(.memo(memo)) }
    }
    let report = self.report()
    return actions + advance() + report
  }

  /// What the end of the remote job says of its target.
  private mutating func report() -> [Action] {
    guard mirror.isUnreported, let target else { return [] }
    return switch mirror.report() {
    case .ranWell: [.report(target.uri, failure: nil)]
    case .failed(let words): [.report(target.uri, failure: words)]
    case nil: []
    }
  }

  mutating func lost(_ failure: TargetFailure) -> [Action] {
    isFollowing = false
    switch state {
    case .mirroring(let remote), .pausing(.mirror(let remote)):
      // Unreachable is not failed: what is not known is shown as that, once, with its reason.
      let shown: [Action] = isUnknown ? [] : [.annotate(["delegate": ["unknown": .string(failure.message)]])]
      isUnknown = true
      return unseen(.follow(remote), failure.message) + shown
    default: return []
    }
  }

  // MARK: Output

  mutating func stored() -> [Action] {
    mirror.stored()
    guard case .mirroring = state else { return [] }
    return advance()
  }

  mutating func copied() -> [Action] {
    mirror.copied()
    guard case .mirroring = state else { return [] }
    return advance()
  }

  mutating func copyLost(_ failure: TargetFailure) -> [Action] {
    mirror.copyInterrupted()
    // Without its output the job is not followed: both begin anew.
    return lost(failure)
  }

  // MARK: Control

  mutating func signalled(_ number: Int) -> [Action] {
    guard control.add(signal: number) else {
      return [
        .complain(
          "\(id): more than \(RemoteControl.maximumSignals) signals wait for its target; signal \(number) is dropped")
      ]
    }
    guard case .mirroring = state else { return [] }
    return advance()
  }

  mutating func controlled() -> [Action] {
    if control.answeredTooLate() { return advance() }
    switch state {
    case .releasing(let remote): return wasCancelled ? cancelRemote(remote) : conclude(.success(remote))
    case .mirroring:
      control.answered()
      return advance()
    default:
      control.answered()
      return []
    }
  }

  /// A copy that is to be released is not there any more: it was lost with its target's state, or it was released before and was purged since.
  /// Nobody can know, so it is not sent again; and it is no success.
  mutating func forgotten(_ words: String) -> [Action] {
    guard case .releasing(let remote) = state, !wasCancelled, !control.isOutdated else { return controlled() }
    let name = target?.name ?? ""
    return conclude(
      .failure(
        "\(name) does not know \(remote) any more, which was handed over to it: it is lost, or has ended: \(words)"))
  }

  mutating func uncontrolled(_ failure: TargetFailure) -> [Action] {
    if control.answeredTooLate() { return advance() }
    switch state {
    case .releasing(let remote): return wasCancelled ? cancelRemote(remote) : pause(.release(remote), failure.message)
    default:
      control.unanswered()
      return lost(failure)
    }
  }

  // MARK: Steps

  /// Does the mirror's next step, when none is under way, and whatever can go on beside it.
  mutating func advance() -> [Action] {
    guard case .mirroring(let remote) = state, let target else { return [] }
    if let words = mirror.allocationFailure, mayTryAnother {
      // The answer to a step that is under way would be taken for the next one's.
      guard mirror.isIdle else { return [] }
      return [.unfollow(target.uri, remote)] + fail("\(target.name): \(words)")
    }
    var actions: [Action] = []
    if let step = mirror.next(from: target.name) {
      if step == .prepare { mayHaveLogs = true }
      actions.append(step)
    }
    if let resources = mirror.beginStoring() { actions.append(.store(resources, isInherited: mirror.isInherited)) }
    guard isFollowing else { return actions }
    if let output = mirror.beginCopy() {
      let files = record.flatMap { OutputFiles($0.jobspec, id: id, nodes: mirror.nodeCount) }
      actions.append(.copy(target.uri, remote, output, files))
    }
    if !mirror.remoteIsOver, let request = control.next(isCancelled: wasCancelled) {
      actions.append(.control(target.uri, remote, request))
    }
    return actions.isEmpty && mirror.isOver ? end() : actions
  }
}
