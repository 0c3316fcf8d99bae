// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// Whether a target takes another job now, as a value: its limits, whether it is drained, and whether it has been failing jobs as fast as they came.
///
/// It knows no clock: `now` is a number of seconds that only grows, the same for all calls.
public struct TargetAdmission: Sendable {
  /// How many jobs in a row a target has to fail to be paused, and how soon after their submission, in seconds.
  public static let blackHole = (failures: 5, time: 60.0)
  /// How long a target is paused at first, in seconds; twice as long each time that it fails the one job it is tried with.
  public static let firstPause = 30.0
  /// The longest pause, in seconds.
  public static let longestPause = 1800.0

  /// Why and since when it takes no new jobs.
  public struct Drain: Hashable, Sendable {
    /// In whoever's words has drained it; may be empty.
    public var reason: String
    /// Since when, in seconds since the epoch; nil when the configuration says so.
    public var since: Double?

    /// A drain from its parts.
    public init(reason: String, since: Double?) {
      self.reason = reason
      self.since = since
    }
  }

  /// Whether a job can go there.
  public enum Answer: Hashable, Sendable {
    /// Now.
    case now
    /// Not now, for this reason.
    case later(String)
  }

  private struct Pause: Hashable, Sendable {
    var length: Double
    var until: Double
    var reason: String
    /// The one job that is tried, since when.
    var probe: JobID?
    var probeSince = 0.0
  }

  /// Its limits, and whether the configuration drains it.
  public var terms = TargetTerms()
  /// Whether somebody has drained it by hand.
  public var drained: Drain?
  /// The jobs that are there or on their way, since when; nil for one that was found there.
  private var jobs: [JobID: Double?] = [:]
  /// How many submissions may be made at once, and when that was counted.
  private var allowance = (count: 1.0, at: -Double.infinity)
  private var failuresInRow = 0
  private var pause: Pause?

  /// A target that nothing is known of.
  public init() {}

  /// How many jobs are there or on their way.
  public var count: Int { jobs.count }

  /// Whether it may have less room than there are jobs.
  public var isLimited: Bool { terms.jobs != nil || terms.rate != nil || pause != nil || drain != nil }

  /// Whether nothing is known of it that anybody needs.
  public var isBlank: Bool {
    jobs.isEmpty && terms == TargetTerms() && drained == nil && pause == nil && failuresInRow == 0
  }

  /// Why it takes no new jobs at all; nil when it does.
  public var drain: Drain? { drained ?? terms.drain.map { Drain(reason: $0, since: nil) } }

  /// Why it is paused, and until when; nil when it is not.
  public func paused(at now: Double) -> (reason: String, until: Double)? {
    pause(at: now).map { ($0.reason, $0.until) }
  }

  /// The pause that lasts: a job that has been tried for long has not been failed as fast as it came, which ends it.
  private func pause(at now: Double) -> Pause? {
    guard let pause, pause.probe == nil || now - pause.probeSince <= Self.blackHole.time else { return nil }
    return pause
  }

  // MARK: Jobs

  /// Whether a job could go there now, but for what ``admit(_:at:)`` counts.
  public func answer(at now: Double) -> Answer {
    if let drain { return .later("drained" + (drain.reason.isEmpty ? "" : ": \(drain.reason)")) }
    if let pause = pause(at: now) {
      if pause.probe != nil { return .later("\(pause.reason); one job is being tried") }
      if now < pause.until {
        return .later("\(pause.reason); it is tried again in \(Int((pause.until - now).rounded(.up))) s")
      }
    }
    if let most = terms.jobs, jobs.count >= most {
      return .later("it has \(jobs.count) jobs of this origin, and max-jobs is \(most)")
    }
    if let rate = terms.rate, allowed(rate, now) < 1 {
      return .later("max-rate is \(Self.words(rate)) submissions a second")
    }
    return .now
  }

  private static func words(_ rate: Double) -> String { rate == rate.rounded() ? String(Int(rate)) : String(rate) }

  /// Lets a job go there, if it can; it counts until it leaves. One that is there already is let go again.
  public mutating func admit(_ id: JobID, at now: Double) -> Answer {
    guard jobs[id] == nil else { return .now }
    if pause != nil, pause(at: now) == nil { recover() }
    let answer = answer(at: now)
    guard answer == .now else { return answer }
    jobs.updateValue(now, forKey: id)
    if let rate = terms.rate { allowance = (allowed(rate, now) - 1, now) }
    if pause != nil {
      pause?.probe = id
      pause?.probeSince = now
    }
    return .now
  }

  private func allowed(_ rate: Double, _ now: Double) -> Double {
    guard allowance.at.isFinite else { return max(1, rate) }
    return min(max(1, rate), allowance.count + (now - allowance.at) * rate)
  }

  /// A job is there, whoever let it, and nobody knows for how long.
  public mutating func enter(_ id: JobID) { if jobs[id] == nil { jobs.updateValue(nil, forKey: id) } }

  /// A job is not there any more.
  public mutating func leave(_ id: JobID, at now: Double) {
    jobs[id] = nil
    guard let length = pause?.length, pause?.probe == id else { return }
    // It has told nothing: another one has to, in as much time.
    pause?.probe = nil
    pause?.until = now + length
  }

  /// How many jobs could go there now.
  public func room(at now: Double) -> Int {
    guard answer(at: now) == .now else { return 0 }
    if pause(at: now) != nil { return 1 }
    var room = Int.max
    if let most = terms.jobs { room = most - jobs.count }
    if let rate = terms.rate { room = min(room, Int(allowed(rate, now))) }
    return room
  }

  // MARK: Black holes

  /// A job has ended there.
  ///
  /// - Parameter failure: what the target did to it; nil when its end was its own doing.
  /// - Returns: words for the log when that changes something.
  public mutating func report(_ id: JobID, failure: String?, at now: Double) -> String? {
    guard let failure else {
      guard pause != nil else {
        failuresInRow = 0
        return nil
      }
      recover()
      return "takes jobs again: one has not failed"
    }
    // One that ran for long, or was here before, says nothing of how others are treated now.
    guard case .some(.some(let since)) = jobs[id] else { return nil }
    guard now - since <= Self.blackHole.time else {
      if pause == nil { failuresInRow = 0 }
      return nil
    }
    failuresInRow += 1
    if pause?.probe == id { return stop(failure, min((pause?.length ?? Self.firstPause) * 2, Self.longestPause), now) }
    guard pause == nil, failuresInRow >= Self.blackHole.failures else { return nil }
    return stop(failure, Self.firstPause, now)
  }

  private mutating func stop(_ failure: String, _ length: Double, _ now: Double) -> String {
    let words =
      "paused: it has failed \(failuresInRow) jobs in a row, each within 60 s; the last: \(failure.prefix(200))"
    pause = Pause(length: length, until: now + length, reason: words)
    return "\(words); it is tried again with one in \(Int(length)) s"
  }

  private mutating func recover() {
    pause = nil
    failuresInRow = 0
  }

  /// Its administrator says that it is well.
  public mutating func undrain() {
    drained = nil
    recover()
  }
}
