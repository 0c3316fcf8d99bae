// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// A job as job-list describes it, with the fields of `flux jobs`.
struct JobRecord: TableFormat.Row, Sendable {
  /// job-list's object.
  let json: JSON
  let id: JobID
  private let printsUnicode: Bool
  /// What the agent says of its delegation, if it was asked and has the job.
  var delegation: JSON?

  /// A job from job-list's object.
  init(_ json: JSON, printsUnicode: Bool) throws {
    guard let id = JobID(json["id"]) else { throw CommandFailure("job-list describes a job without an id") }
    self.json = json
    self.id = id
    self.printsUnicode = printsUnicode
  }

  var state: JobState? { json["state"]?.intValue.flatMap { JobState(rawValue: Int($0)) } }
  var result: JobResult? { json["result"]?.intValue.flatMap { JobResult(rawValue: Int($0)) } }
  /// The URI of the instance that the job is, if it is one.
  var uri: String? { json.value(at: "annotations.user.uri")?.stringValue }
  /// The job id as Flux prints it.
  var name: String { id.encoded(printsUnicode ? .f58 : .f58plain) }

  func value(of field: String) -> FieldValue {
    if let encoding = JobFields.encodings[field] {
      return .text(encoding == .f58 ? name : id.encoded(encoding))
    }
    switch field {
    case "username": return .text(json["userid"]?.intValue.map(UserName.name(of:)) ?? "")
    case "state": return .text(state?.name ?? "")
    case "state_single": return .text(state?.short ?? "")
    case "result": return .text(result?.name ?? "")
    case "result_abbrev": return .text(result?.short ?? "")
    case "status": return .text(status(full: true))
    case "status_abbrev": return .text(status(full: false))
    case "runtime": return .double(runtime)
    case "t_remaining": return .double(remaining)
    case "returncode": return returnCode.map { .int($0) } ?? .none
    case "dependencies": return .text(dependencies.joined(separator: ","))
    case "contextual_info": return .text(contextualInfo)
    case "contextual_time": return .double(isPending ? time("duration") : runtime)
    case "inactive_reason": return .text(inactiveReason)
    case "uri": return .text(uri ?? "")
    case "delegate_target":
      return FieldValue(json.value(at: "annotations.user.delegate.target") ?? delegation?["target"])
    case "delegate_jobid": return FieldValue(json.value(at: "annotations.user.delegate.jobid"))
    case "delegate_state": return FieldValue(delegation?["state"])
    case "delegate_info": return .text(delegationInfo)
    case "uri.local": return .text(localURI)
    case "userid", "urgency", "priority", "ntasks", "ncores", "nnodes", "name", "cwd", "queue", "project", "bank",
      "ranks",
      "nodelist", "success", "waitstatus":
      return FieldValue(json[field])
    case "id": return .text(name)
    default: return other(field)
    }
  }

  private func other(_ field: String) -> FieldValue {
    if field.hasPrefix("t_") || field == "duration" || field == "expiration" { return .double(time(field)) }
    if field.hasPrefix("exception.") { return FieldValue(json["exception_" + field.dropFirst("exception.".count)]) }
    if field == "annotations" || field.hasPrefix("annotations.") { return FieldValue(json.value(at: field)) }
    return FieldValue(json.value(at: "annotations." + field))
  }

  private var isPending: Bool { state == .depend || state == .priority || state == .sched }

  private func time(_ key: String) -> Double { json[key]?.doubleValue ?? 0 }

  /// The state, or the result once there is one.
  private func status(full: Bool) -> String {
    if state == .inactive { return (full ? result?.name : result?.short) ?? "" }
    return (full ? state?.name : state?.short) ?? ""
  }

  private var runtime: Double {
    let start = time("t_run")
    let end = time("t_cleanup")
    if start <= 0 { return 0 }
    return (end > 0 ? end : CFormat.now()) - start
  }

  private var remaining: Double {
    state == .run ? max(0, time("expiration") - CFormat.now()) : 0
  }

  /// The exit code, minus the signal that ended the shell, or -128 for a job that was cancelled before it started.
  private var returnCode: Int64? {
    guard let wait = json["waitstatus"]?.intValue else {
      return result == .canceled ? -128 : result == .failed ? 1 : nil
    }
    let status = WaitStatus(rawValue: Int32(truncatingIfNeeded: wait))
    if let signal = status.signal { return -Int64(signal) }
    return status.exitCode.map { Int64($0) }
  }

  private var localURI: String {
    guard let uri else { return "" }
    guard let parsed = try? FluxURI(parsing: uri), parsed.scheme == .ssh else { return uri }
    return "local://" + parsed.path
  }

  /// What the job waits for.
  var dependencies: [String] {
    (json["dependencies"]?.arrayValue ?? []).compactMap(\.stringValue).map { text in
      guard text.hasPrefix("begin-time="), let time = Double(text.dropFirst("begin-time=".count)) else { return text }
      let isToday = CFormat.time(time, "%F") == CFormat.time(CFormat.now(), "%F")
      let seconds = CFormat.time(time, "%S")
      return "begin@" + CFormat.time(time, isToday ? "%H:%M" : "%b%d-%H:%M") + (seconds == "00" ? "" : ":" + seconds)
    }
  }

  /// Whether it is one of those that are delegated, as far as a listing tells.
  var isDelegated: Bool {
    json.value(at: "annotations.user.delegate")?.objectValue != nil || dependencies.contains("delegated")
      || json["exception_type"]?.stringValue?.hasPrefix("Delegation") == true
  }

  /// Why it waits, or that nobody knows how it fares, since when; or how its delegation has ended.
  private var delegationInfo: String {
    let shown = json.value(at: "annotations.user.delegate")
    if state != .inactive {
      let since = shown?["since"]?.doubleValue.map { " since " + CFormat.time($0, "%b%d %H:%M:%S") } ?? ""
      if let words = shown?["unknown"]?.stringValue { return "unknown\(since): \(words)" }
      if let words = shown?["waits"]?.stringValue { return "waits\(since): \(words)" }
    }
    if let words = delegation?["reason"]?.stringValue { return words }
    guard json["exception_type"]?.stringValue?.hasPrefix("Delegation") == true else { return "" }
    return json["exception_note"]?.stringValue ?? ""
  }

  private var contextualInfo: String {
    switch state {
    case .priority: return "priority-wait"
    case .depend: return "depends:" + dependencies.joined(separator: ",")
    case .sched:
      if let estimate = json.value(at: "annotations.sched.t_estimate")?.doubleValue {
        let wait = estimate - CFormat.now()
        return "eta:" + (wait < 0 ? "now" : CFormat.duration(wait))
      }
      if json["urgency"]?.intValue == 0 { return "held" }
      return json["priority"]?.intValue == 0 ? "priority-hold" : ""
    default: return json["nodelist"]?.stringValue ?? ""
    }
  }

  private var inactiveReason: String {
    guard state == .inactive, let result else { return "" }
    let type = json["exception_type"]?.stringValue ?? ""
    let note = json["exception_note"]?.stringValue ?? ""
    let occurred = json["exception_occurred"]?.boolValue == true
    switch result {
    case .canceled: return occurred && type == "cancel" && !note.isEmpty ? "Canceled: \(note)" : "Canceled"
    case .timeout: return "Timeout"
    case .failed where occurred && type != "exec" && json["exception_severity"]?.intValue == 0:
      return "Exception: type=\(type)" + (note.isEmpty ? "" : " note=\(note)")
    case .failed: return Self.reason(returnCode ?? 1)
    default: return "Exit \(returnCode ?? 0)"
    }
  }

  private static func reason(_ code: Int64) -> String {
    switch code {
    case 126: "Command invoked cannot execute"
    case 127: "command not found"
    case 128: "Invalid argument to exit"
    case 129...: String(cString: strsignal(CInt(clamping: code - 128)))
    default: "Exit \(code)"
    }
  }
}
