// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// All that is known of one job when everything is over.
struct Evidence: Sendable {
  /// What has happened to a way or to an instance, in seconds since the epoch.
  struct Trouble: Hashable, Sendable {
    /// Labels of the targets that were concerned.
    var targets: Set<String>
    var from: Double
    var to: Double
  }

  /// A target's instance was killed.
  struct Kill: Hashable, Sendable {
    var target: String
    var time: Double
    /// Whether it has come back with its jobs.
    var isDurable: Bool
  }

  /// A job at a target that bears the origin job's mark.
  struct Copy: Sendable {
    var target: String
    var id: JobID
    var events: [EventlogEntry]
    /// What it has printed, as its own instance shows it.
    var output: String
  }

  var plan: JobPlan
  /// Its id at the origin, when it is there.
  var id: JobID?
  /// Whether the answer to its submission has come. Otherwise it may be there or not.
  var isAccepted = true
  /// How often it has begun to run.
  var marks: Int
  /// Its eventlog at the origin; empty when the origin does not know it.
  var events: [EventlogEntry]
  /// Its logs at the origin; nil when there are none.
  var output: [EventlogEntry]?
  var execution: [EventlogEntry]?
  /// The reason for which it is held, when it is shown.
  var reason: String?
  var copies: [Copy] = []
  var kills: [Kill] = []
  var troubles: [Trouble] = []
}

extension [EventlogEntry] {
  func first(_ name: String) -> EventlogEntry? { first { $0.name == name } }

  /// The wait status of the event `finish`.
  var status: WaitStatus? {
    first("finish")?.context?["status"]?.intValue.map { WaitStatus(rawValue: Int32(truncatingIfNeeded: $0)) }
  }

  /// Exceptions that end a job, as type and note.
  var fatal: [(type: String, note: String)] {
    filter { $0.name == "exception" && $0.context?["severity"]?.intValue == 0 }.map {
      ($0.context?["type"]?.stringValue ?? "", $0.context?["note"]?.stringValue ?? "")
    }
  }

  /// The bytes of an output log (RFC 24), of one stream.
  func text(of stream: String = "stdout") -> String {
    var bytes: [UInt8] = []
    for entry in self where entry.name == "data" && entry.context?["stream"]?.stringValue == stream {
      let data = entry.context?["data"]?.stringValue ?? ""
      let isBase64 = entry.context?["encoding"]?.stringValue == "base64"
      let decoded: [UInt8] = isBase64 ? (try? Base64.decode(data)) ?? [] : [UInt8](data.utf8)
      bytes.append(contentsOf: decoded)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
