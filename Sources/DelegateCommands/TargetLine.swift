// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A line of `targets`.
struct TargetLine: TableFormat.Row, Sendable {
  /// As the agent tells it.
  let json: JSON

  static let formats = [
    "default": "+:{name:<8} {state:<11} {jobs:>6} {latency:>8} ?+:{version:<8} ?:{info}",
    "long": "+:{name:<8} {state:<11} {jobs:>6} {latency:>8} +:{version:<8} {t_error!d:%b%d %R::>12h} +:{uri} ?:{info}",
  ]

  /// A field's heading; nil when there is no such field.
  static let heading: @Sendable (String) -> String? = { name in
    [
      "name": "TARGET", "label": "LABEL", "uri": "URI", "state": "STATE", "jobs": "JOBS", "latency": "LATENCY",
      "version": "VERSION", "error": "ERROR", "t_error": "T_ERROR", "reason": "REASON", "info": "INFO",
    ][name]
  }

  func value(of field: String) -> FieldValue {
    switch field {
    case "name": .text(json["label"]?.stringValue ?? json["uri"]?.stringValue ?? "")
    case "state": .text(state)
    case "latency":
      .text(json["latency"]?.doubleValue.map { StandardDuration(seconds: Self.rounded($0)).description } ?? "-")
    case "error": FieldValue(json.value(at: "error.message"))
    case "t_error": .time(json.value(at: "error.timestamp")?.doubleValue ?? 0)
    case "reason": .text(reason)
    case "info": .text(info)
    default: FieldValue(json[field])
    }
  }

  /// Two digits are enough.
  private static func rounded(_ seconds: Double) -> Double {
    let microseconds = (seconds * 1e6).rounded()
    return microseconds < 1000 ? microseconds / 1e6 : (seconds * 1e4).rounded() / 1e4
  }

  /// What new jobs meet comes before how the connection is.
  private var state: String {
    if json["drain"] != nil { return "drained" }
    if json["paused"] != nil { return "paused" }
    return json["state"]?.stringValue ?? ""
  }

  private var reason: String {
    json.value(at: "drain.reason")?.stringValue ?? json.value(at: "paused.reason")?.stringValue ?? ""
  }

  private var info: String {
    var parts: [String] = []
    if let drain = json["drain"] {
      let since =
        drain["timestamp"]?.doubleValue.map { " since \(CFormat.time($0, "%b%d %H:%M"))" } ?? " by the configuration"
      parts.append("drained\(since)" + (reason.isEmpty ? "" : ": \(reason)"))
    } else if let paused = json["paused"] {
      let seconds = Int((paused["seconds"]?.doubleValue ?? 0).rounded(.up))
      parts.append("\(reason); " + (seconds > 0 ? "tried again in \(seconds) s" : "one job is being tried"))
    }
    if json["state"]?.stringValue == "unreachable" {
      let words = json.value(at: "error.message")?.stringValue ?? ""
      parts.append(words + "; tried again in \(Int((json["retry"]?.doubleValue ?? 0).rounded(.up))) s")
    }
    return parts.joined(separator: "; ")
  }
}
