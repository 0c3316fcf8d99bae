// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What is known of a remote job, and how far the origin job has followed it. One step is under way at a time.
///
/// The origin job's own events are the steps' record: a new agent reads from them what has been done.
struct JobMirror: Hashable, Sendable {
  private enum Step: Hashable, Sendable {
    case announce
    case allocate
    case start
    case except
    case finish
  }

  // The remote job.
  private var started: (at: Double, ResourceSet)? {
    get { startTime.flatMap { time in resources.map { (time, $0) } } }
    set {
      startTime = newValue?.at
      resources = newValue?.1
    }
  }
  private var startTime: Double?
  private var resources: ResourceSet?
  private var exceptionType: String?
  private var exceptionNote = ""
  private var status: WaitStatus?
  private var remoteIsOver = false

  // The origin job.
  private var done: Set<Step> = []
  private var underWay: Step?

  // MARK: What is noted

  mutating func note(remote event: RemoteEvent) {
    switch event {
    case .started(let time, let resources): started = (time, resources)
    case .exception(let type, let note):
      guard exceptionType == nil else { return }
      exceptionType = type
      exceptionNote = note
    case .finished(let status): self.status = status
    case .over: remoteIsOver = true
    }
  }

  mutating func note(origin entry: EventlogEntry) {
    switch entry.name {
    case "delegate::start": done.insert(.announce)
    case "alloc": done.insert(.allocate)
    case "start": done.insert(.start)
    case "finish": done.insert(.finish)
    case "exception" where entry.context?["severity"]?.intValue == 0: done.insert(.except)
    default: break
    }
  }

  /// Whether an exception in the origin's eventlog is the one that the mirror itself has written, or is writing.
  func isOwnException(_ entry: EventlogEntry) -> Bool {
    underWay == .except || (exceptionType != nil && entry.context?["type"]?.stringValue == exceptionType)
  }

  /// The remote job is followed anew: what it says comes again. A step that is under way still has its answer to come.
  mutating func restart() { remoteIsOver = false }

  // MARK: Steps

  mutating func stepDone() {
    if let underWay { done.insert(underWay) }
    underWay = nil
  }

  mutating func stepFailed() { underWay = nil }

  /// The next step, when none is under way and there is one.
  mutating func next(from target: String) -> DelegatedJob.Action? {
    guard underWay == nil, let (step, action) = due(target) else { return nil }
    underWay = step
    return action
  }

  private func due(_ target: String) -> (Step, DelegatedJob.Action)? {
    if let started {
      if !done.contains(.announce) {
        return (.announce, .post(name: "delegate::start", context: ["timestamp": .double(started.at)]))
      }
      if !done.contains(.allocate) { return (.allocate, .allocate(started.1)) }
      if !done.contains(.start) { return (.start, .start) }
    }
    // The remote job's exception comes before its end here too. It is written as an event, not raised: raised, it would have
    // the origin end the execution with a status of its own.
    if let exceptionType, !done.contains(.except) {
      let note = "\(target): \(exceptionNote)"
      return (
        .except,
        .post(name: "exception", context: ["type": .string(exceptionType), "severity": 0, "note": .string(note)])
      )
    }
    if let status, done.contains(.start), !done.contains(.finish) { return (.finish, .finish(status)) }
    return nil
  }

  /// Whether the origin job has all that the remote one had.
  var isOver: Bool { remoteIsOver && underWay == nil }

  /// Whether the origin job's execution has ended.
  var isFinished: Bool { done.contains(.finish) || (remoteIsOver && started == nil) }
}
