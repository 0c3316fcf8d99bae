// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What the origin instance has on record of a job: all that an agent needs to know of it.
public struct JobRecord: Hashable, Sendable {
  /// The job's id at the origin.
  public var id: JobID
  /// Its owner.
  public var userID: UInt32
  /// Its urgency, 0 to 31.
  public var urgency: Int
  /// Its jobspec as submitted, environment included.
  public var jobspec: Jobspec
  /// Its eventlog up to now.
  public var eventlog: [EventlogEntry]

  /// When it was submitted, in seconds since the epoch; 0 when its eventlog does not say.
  public var submitted: Double

  /// A record from its parts.
  ///
  /// - Parameter submitted: when it was submitted; nil takes it from the eventlog.
  public init(
    id: JobID, userID: UInt32, urgency: Int, jobspec: Jobspec, eventlog: [EventlogEntry], submitted: Double? = nil
  ) {
    self.id = id
    self.userID = userID
    self.urgency = urgency
    self.jobspec = jobspec
    self.eventlog = eventlog
    self.submitted = submitted ?? eventlog.first { $0.name == "submit" }?.timestamp ?? 0
  }
}

/// What the plugin knows of a job that has just been submitted, so that nobody has to ask for its eventlog.
public struct Submission: Hashable, Sendable {
  /// Its owner.
  public var userID: UInt32
  /// Its urgency, 0 to 31.
  public var urgency: Int
  /// When it was submitted, in seconds since the epoch: the timestamp of its event `submit`.
  public var time: Double

  /// A submission from its parts.
  public init(userID: UInt32, urgency: Int, time: Double) {
    self.userID = userID
    self.urgency = urgency
    self.time = time
  }

  /// As the plugin sends it: `userid`, `urgency` and `t_submit`; nil when one is missing.
  public init?(_ json: JSON) {
    guard let user = json["userid"]?.intValue, let urgency = json["urgency"]?.intValue,
      let time = json["t_submit"]?.doubleValue, time > 0
    else { return nil }
    self.init(userID: UInt32(truncatingIfNeeded: user), urgency: Int(urgency), time: time)
  }
}

/// What is written into a remote job so that it can be found again: `attributes.user.delegate` of its jobspec.
public struct Mark: Hashable, Sendable {
  /// Where the origin instance is: host and URI. For people.
  public var origin: String
  /// The job's id there.
  public var id: JobID
  /// When it was submitted there. Tells jobs of two instances apart.
  public var submitted: Double
  /// Which attempt this is, from 1.
  public var attempt: Int

  /// A mark from its parts.
  public init(origin: String, id: JobID, submitted: Double, attempt: Int) {
    self.origin = origin
    self.id = id
    self.submitted = submitted
    self.attempt = attempt
  }

  /// Whether both name the same job. The origin's address does not count: an instance that is started again may have another one,
  /// and the same id submitted at the same time, to the microsecond, is the same job.
  public func names(sameJobAs other: Mark) -> Bool { id == other.id && submitted == other.submitted }

  /// The longest `origin` of a mark, in bytes. A longer one is none of ours.
  public static let maximumOriginLength = 1024

  /// The attribute that holds it.
  public static let attribute = "attributes.user.delegate"

  /// As in the jobspec.
  public var json: JSON {
    [
      "origin": .string(origin), "id": .string(id.encoded(.f58plain)), "submitted": .double(submitted),
      "attempt": .int(Int64(attempt)),
    ]
  }

  /// The mark in a jobspec, or nil when it has none.
  public init?(jobspec: JSON) {
    guard let mark = jobspec.value(at: Self.attribute), let origin = mark["origin"]?.stringValue,
      origin.utf8.count <= Self.maximumOriginLength,
      let text = mark["id"]?.stringValue, let id = try? JobID(parsing: text),
      let submitted = mark["submitted"]?.doubleValue, mark["attempt"]?.intValue != nil
    else { return nil }
    self.init(origin: origin, id: id, submitted: submitted, attempt: Self.attempt(mark["attempt"]))
  }

  /// The number of an attempt: 1 when there is none, and none so great that it could not be counted on.
  static func attempt(_ json: JSON?) -> Int { Int(min(max(json?.intValue ?? 1, 1), 1 << 20)) }
}

/// Why a target could not be asked, or would not answer.
public struct TargetFailure: Error, Hashable, Sendable, CustomStringConvertible {
  /// What happened, in words for the job's owner.
  public var message: String
  /// Whether trying again soon may succeed without anybody changing something.
  public var isTransient: Bool

  /// A failure with its words, of which at most 4 KiB are kept: they may be the target's.
  public init(_ message: String, isTransient: Bool) {
    self.message = message.cut(to: String.maximumWordsLength)
    self.isTransient = isTransient
  }

  /// The words.
  public var description: String { message }
}
