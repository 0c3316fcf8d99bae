// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What the origin's record of a job says of a copy of it that nobody follows.
public enum StrayVerdict: Hashable, Sendable {
  /// Another copy is on record, or none: this one was never released, and never will be.
  case second
  /// Its job was cancelled at the origin, and is over there: no copy of it has a right to be, on record or not.
  case cancelled
  /// Its job has gone elsewhere while the target could not be seen.
  case abandoned
  /// It was handed over, and is its owner's at the target.
  case handedOver
  /// Nothing that somebody could act on, or not yet.
  case unknown

  /// - Parameters:
  ///   - place: the target that it is at.
  ///   - isHeld: whether it waits for nothing but its release.
  ///   - record: the eventlog of its job at the origin, from its beginning.
  public init(_ remote: JobID, at place: FluxURI, isHeld: Bool, record: [EventlogEntry]) {
    // Two targets may give the same id. `delegated` does not say where it was: the choice before it does.
    let recorded = record.indices.last { index in
      let entry = record[index]
      guard entry.name == "delegated" || entry.name == "delegate::submit",
        JobID(entry.context?["jobid"]) == remote
      else { return false }
      let chosen = record[..<index].last { $0.name == "delegate::select" }
      let uri = (entry.context?["uri"] ?? chosen?.context?["uri"])?.stringValue
      return uri ?? place.description == place.description
    }
    if isHeld, recorded == nil {
      self = .second
      return
    }
    if let recorded, record[recorded...].contains(where: { $0.name == "delegate::exception" }) {
      self = .abandoned
      return
    }
    let fatal = record.filter { $0.name == "exception" && $0.context?["severity"]?.intValue == 0 }
    let isOver = record.contains { $0.name == "clean" }
    if fatal.contains(where: { $0.context?["type"]?.stringValue == "DelegationSuccess" }) {
      self = .handedOver
    } else if isOver, fatal.contains(where: { $0.context?["userid"] != nil }) {
      self = .cancelled
    } else {
      self = .unknown
    }
  }
}
