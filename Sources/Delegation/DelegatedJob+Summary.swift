// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// How a delegated job stands, for listings.
extension DelegatedJob {
  /// A job's line in a listing.
  public struct Summary: Hashable, Sendable {
    /// Its id at the origin.
    public var id: JobID
    /// What is being done, in a word: `waiting`, `choosing`, `submitting`, `queued`, `looking`, `mirroring`, `unknown`, `cancelling`, `ending`.
    public var state: String
    /// Where it is or goes.
    public var target: Target?
    /// Its id there.
    public var remote: JobID?
    /// Which attempt this is, from 1.
    public var attempt: Int
    /// Why it waits, when it does.
    public var reason: String?

    /// As the agent's service tells it.
    public var json: JSON {
      var object: JSONObject = ["id": id.json, "state": .string(state), "attempt": .int(Int64(attempt))]
      if let target {
        object["target"] = .string(target.name)
        object["uri"] = .string(target.uri.description)
      }
      if let remote { object["jobid"] = remote.json }
      if let reason { object["reason"] = .string(reason) }
      return .object(object)
    }
  }

  /// How it stands.
  public var summary: Summary {
    Summary(
      id: id, state: word, target: place == nil ? nil : target, remote: remote, attempt: attempt,
      reason: reason ?? (isUnknown ? shownWait : nil))
  }

  private var word: String {
    switch state {
    case .reading, .waiting, .pausing(.read): "waiting"
    case .searching, .looking, .pausing(.search), .pausing(.look): "looking"
    case .choosing, .selecting, .abandoning, .renewing, .pausing(.select), .pausing(.abandon), .pausing(.renew):
      "choosing"
    case .queueing: "queued"
    case .submitting, .recording, .releasing, .pausing(.submit), .pausing(.record), .pausing(.release): "submitting"
    case .mirroring: isUnknown ? "unknown" : "mirroring"
    case .pausing(.follow), .reconsidering: "unknown"
    case .pausing(.mirror): "mirroring"
    case .cancelling, .pausing(.cancel): "cancelling"
    case .concluding, .pausing(.conclude), .ended: "ending"
    }
  }
}

extension DelegatedJob.Next {
  /// Whether it is to ask a target for something: until there is an answer, nothing more is known than before.
  var asksTarget: Bool {
    switch self {
    case .search, .look, .follow, .cancel: true
    default: false
    }
  }
}
