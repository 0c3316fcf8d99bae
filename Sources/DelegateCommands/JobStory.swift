// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A delegated job's life in words, from its eventlog at the origin alone.
struct JobStory: Sendable {
  /// One try at one target.
  struct Attempt: Sendable {
    var number: Int64
    var uri: String
    var label: String?
    /// Its id there.
    var remote: JobID?
    /// When it started there, by that clock, in seconds since the epoch.
    var started: Double?
    /// Why this target is not the one, if so.
    var failure: String?

    /// What people call the target.
    var name: String { label ?? uri }
  }

  /// What happened, when, in words.
  struct Line: Sendable {
    var time: Double
    var event: String
    var words: String
  }

  let id: JobID
  private(set) var attempts: [Attempt] = []
  private(set) var lines: [Line] = []
  private(set) var isDelegated = false
  private(set) var isHandOff = false
  private(set) var status: WaitStatus?
  /// The exception that has ended it.
  private(set) var exception: (type: String, note: String)?
  private(set) var isRunning = false
  private(set) var isOver = false

  init(_ id: JobID, _ eventlog: [EventlogEntry]) {
    self.id = id
    for entry in eventlog {
      note(entry)
      if let words = words(for: entry) { lines.append(Line(time: entry.timestamp, event: entry.name, words: words)) }
    }
  }

  // MARK: What follows from events

  private mutating func note(_ entry: EventlogEntry) {
    let context = entry.context ?? [:]
    switch entry.name {
    case "dependency-add": if context["description"]?.stringValue == "delegated" { isDelegated = true }
    case "delegate::select":
      isDelegated = true
      attempts.append(
        Attempt(
          number: context["attempt"]?.intValue ?? 1, uri: context["uri"]?.stringValue ?? "",
          label: context["label"]?.stringValue))
    case "delegate::submit", "delegated":
      isDelegated = true
      isHandOff = entry.name == "delegated"
      // A target that the jobspec names needs no choice.
      if attempts.isEmpty || attempts.last?.failure != nil {
        attempts.append(Attempt(number: Int64(attempts.count) + 1, uri: context["uri"]?.stringValue ?? "its target"))
      }
      attempts[attempts.count - 1].remote = JobID(context["jobid"])
    case "delegate::start": amendLast { $0.started = context["timestamp"]?.doubleValue }
    case "delegate::exception": amendLast { $0.failure = context["note"]?.stringValue ?? "" }
    case "start": isRunning = true
    case "finish": status = WaitStatus(rawValue: Int32(truncatingIfNeeded: context["status"]?.intValue ?? 0))
    case "exception" where context["severity"]?.intValue == 0 && exception == nil:
      exception = (context["type"]?.stringValue ?? "", context["note"]?.stringValue ?? "")
    case "clean": isOver = true
    default: break
    }
  }

  private mutating func amendLast(_ change: (inout Attempt) -> Void) {
    if !attempts.isEmpty { change(&attempts[attempts.count - 1]) }
  }

  /// How it stands, in a line.
  var summary: String {
    guard isDelegated else { return "is not delegated: it is this instance's own job" }
    let place = attempts.last.map { " at \($0.name)" + ($0.remote.map { " as \($0)" } ?? "") } ?? ""
    guard isOver || exception != nil || status != nil else {
      if isRunning { return "runs\(place)" }
      return attempts.last?.remote == nil
        ? attempts.isEmpty ? "is held for delegation" : "is on its way\(place)" : "waits\(place)"
    }
    if exception?.type == "DelegationSuccess" { return "was handed over: it is its owner's\(place)" }
    if exception?.type == "DelegationFailure", status == nil {
      return "has failed, and runs nowhere: \(exception?.note ?? "")"
    }
    let end = status.map(Self.words(for:)) ?? exception.map { "has ended by \($0.type)" } ?? "has ended"
    return end + place + (exception.map { ", after \($0.type)" + ($0.note.isEmpty ? "" : ": \($0.note)") } ?? "")
  }

  private static func words(for status: WaitStatus) -> String {
    if let signal = status.signal { return "was killed by signal \(signal)" }
    return status.exitCode == 0 ? "has completed" : "has failed with exit code \(status.exitCode ?? 1)"
  }

  // MARK: Sentences

  /// An event in words; nil for one that says nothing beside others.
  private func words(for entry: EventlogEntry) -> String? {
    let context = entry.context ?? [:]
    let text = { (key: String) in context[key]?.stringValue ?? "" }
    switch entry.name {
    case "submit":
      let user = context["userid"]?.intValue.map(UserName.name(of:)) ?? "somebody"
      let urgency = context["urgency"]?.intValue ?? 16
      return "submitted by \(user)" + (urgency == 16 ? "" : urgency == 0 ? ", held" : " with urgency \(urgency)")
    case "validate": return "accepted by this instance"
    case "dependency-add":
      return text("description") == "delegated" ? "held for delegation" : "waits for \(text("description"))"
    case "dependency-remove":
      return text("description") == "delegated" ? nil : "waits for \(text("description")) no more"
    case "delegate::select":
      let number = context["attempt"]?.intValue ?? 1
      let label = context["label"]?.stringValue
      return (number > 1 ? "attempt \(number): " : "") + (label.map { "\($0) was chosen, " } ?? "chosen: ")
        + text("uri")
    case "delegate::submit", "delegated":
      let name = attempts.last?.name ?? "its target"
      return "\(name) has accepted it" + (JobID(context["jobid"]).map { ": it is \($0) there" } ?? "")
    case "delegate::start": return "started at \(attempts.last?.name ?? "its target")"
    case "delegate::exception": return "given up there: \(text("note"))"
    case "urgency": return "its urgency is \(context["urgency"]?.intValue ?? 0) now"
    case "exception": return words(forException: context)
    case "finish": return Self.words(for: status ?? WaitStatus(rawValue: 0))
    case "clean": return "over"
    case "memo": return "says of itself: \(JSON.object(context).text)"
    case "jobspec-update":
      // What was set for the way itself.
      let changes = context.filter { !$0.key.hasPrefix("attributes.system.exec.") }
      return changes.isEmpty ? nil : "changed: " + changes.map { "\($0.key)=\($0.value.text)" }.joined(separator: ", ")
    case "depend", "priority", "alloc", "start", "prolog-start", "prolog-finish", "epilog-start", "epilog-finish",
      "release", "free", "set-flags", "debug.alloc-request", "debug.start-request", "debug.free-request", "annotations":
      return nil
    default: return "event \(entry.name)" + (context.isEmpty ? "" : " \(JSON.object(context).text)")
    }
  }

  private func words(forException context: JSONObject) -> String {
    let type = context["type"]?.stringValue ?? ""
    let note = context["note"]?.stringValue ?? ""
    let by = context["userid"]?.intValue.map { " by \(UserName.name(of: $0))" } ?? ""
    let rest = note.isEmpty ? "" : ": \(note)"
    switch type {
    case "DelegationSuccess": return "handed over\(rest)"
    case "DelegationFailure":
      return context["severity"]?.intValue == 0 ? "it runs nowhere\(rest)" : "that was not its own doing\(rest)"
    case "cancel": return "canceled\(by)\(rest)"
    default:
      return "exception \(type)\(context["severity"]?.intValue == 0 ? "" : ", which does not end it")\(by)\(rest)"
    }
  }

  // MARK: JSON

  /// The same for programs.
  var json: JSON {
    var object: JSONObject = [
      "id": id.json, "delegated": .bool(isDelegated), "summary": .string(summary),
      "mode": isHandOff ? "hand-off" : "mirror",
    ]
    object["attempts"] = .array(
      attempts.map { attempt in
        var entry: JSONObject = ["attempt": .int(attempt.number), "uri": .string(attempt.uri)]
        if let label = attempt.label { entry["label"] = .string(label) }
        if let remote = attempt.remote { entry["jobid"] = remote.json }
        if let started = attempt.started { entry["t_start"] = .double(started) }
        if let failure = attempt.failure { entry["failure"] = .string(failure) }
        return .object(entry)
      })
    if let status { object["waitstatus"] = .int(Int64(status.rawValue)) }
    if let exception { object["exception"] = ["type": .string(exception.type), "note": .string(exception.note)] }
    object["events"] = .array(
      lines.map { ["timestamp": .double($0.time), "name": .string($0.event), "words": .string($0.words)] })
    return .object(object)
  }
}
