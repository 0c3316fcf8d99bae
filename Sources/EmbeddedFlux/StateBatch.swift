// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What has changed since the last transaction on the state directory: the next one. Pure.
struct StateBatch: Sendable {
  /// A job's logs.
  enum Log: Int64, Sendable {
    case events = 0
    case execution = 1
    case output = 2
    case input = 3
  }

  /// Where lines belong.
  struct Place: Hashable, Sendable {
    var job: JobID
    var log: Log
  }

  /// A job that was accepted.
  struct Submission: Sendable {
    var id: JobID
    var userID: UInt32
    var urgency: Int
    var flags: Int
    var signed: String
    /// The jobspec, where it may not be the submitted one.
    var jobspec: String?
  }

  /// What is said of a job's namespace.
  enum Guest: Int64, Sendable {
    case none = 0
    case open = 1
    case removed = 2
  }

  private(set) var submissions: [Submission] = []
  /// New lines, those of one log together.
  private(set) var lines: [Place: String] = [:]
  /// Logs that go, before new lines of theirs are added.
  private(set) var emptied: Set<Place> = []
  private(set) var resources: [JobID: String] = [:]
  private(set) var guests: [JobID: Guest] = [:]
  private(set) var waited: Set<JobID> = []
  /// Jobs that have ended, with the record that listings need.
  private(set) var ended: [JobID: String] = [:]
  private(set) var forgotten: [JobID] = []
  private(set) var notes: [String: String] = [:]
  private(set) var isEmpty = true
  /// What is left out, for it is longer than the database takes. What has a limit of its own does not get so long.
  private(set) var tooLong: Set<String> = []
  /// About how much memory it takes.
  private(set) var bytes = 0

  /// What a change takes beside its text.
  private static let overhead = 256
  /// The longest text of one log, or of anything else, in bytes. SQLite takes 1e9: one that is longer would never be written, nor anything after it.
  static let maximumText = 512 << 20
  private let maximum: Int

  init(maximum: Int = Self.maximumText) { self.maximum = maximum }

  private mutating func count(_ bytes: Int = 0) {
    isEmpty = false
    self.bytes += bytes + Self.overhead
  }

  mutating func add(_ submission: Submission) {
    submissions.append(submission)
    count(submission.signed.utf8.count + (submission.jobspec?.utf8.count ?? 0))
  }

  /// Whether a text is short enough to be written.
  private mutating func fits(_ bytes: Int, _ name: @autoclosure () -> String) -> Bool {
    if bytes > maximum { tooLong.insert(name()) }
    return bytes <= maximum
  }

  mutating func append(_ line: String, to place: Place) {
    let length = (lines[place]?.utf8.count ?? 0) + line.utf8.count
    guard fits(length, "\(place.job): \(place.log)") else { return count() }
    lines[place, default: ""] += line
    count(line.utf8.count)
  }

  /// A log begins anew.
  mutating func empty(_ place: Place) {
    emptied.insert(place)
    lines[place] = nil
    count()
  }

  mutating func set(resources text: String, of id: JobID) {
    resources[id] = text
    count(text.utf8.count)
  }

  mutating func set(_ guest: Guest, of id: JobID) {
    guests[id] = guest
    count()
  }

  mutating func set(waited id: JobID) {
    waited.insert(id)
    count()
  }

  mutating func end(_ id: JobID, _ record: String) {
    // Without it the job is what its eventlog says.
    guard fits(record.utf8.count, "\(id): record") else { return count() }
    ended[id] = record
    count(record.utf8.count)
  }

  mutating func forget(_ ids: [JobID]) {
    forgotten += ids
    count(ids.count * 8)
  }

  mutating func note(_ key: String, _ value: String) {
    notes[key] = nil
    guard fits(value.utf8.count, key) else { return count() }
    notes[key] = value
    count(value.utf8.count)
  }
}
