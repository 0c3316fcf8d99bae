// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A job as `flux jobs --json` describes it.
enum JobDescription {
  private static let keys = [
    "t_depend", "t_priority", "t_sched", "t_run", "t_cleanup", "t_inactive", "duration", "expiration", "name", "cwd",
    "queue", "project", "bank", "ntasks", "ncores", "nnodes", "priority", "ranks", "nodelist", "success", "result",
    "waitstatus", "id", "t_submit", "t_remaining", "state", "username", "userid", "urgency", "runtime", "status",
    "returncode",
  ]

  /// The object: what is unset is left out.
  static func json(of job: JobRecord) -> JSON {
    var result = JSONObject()
    for key in keys {
      let isOptional = key.hasPrefix("t_") || key == "runtime" || key == "expiration"
      switch key == "id" ? .int(Int64(bitPattern: job.id.rawValue)) : job.value(of: key) {
      case .text(let text): if !text.isEmpty { result[key] = .string(text) }
      case .int(let number): result[key] = .int(number)
      case .double(let number), .time(let number): if !isOptional || number != 0 { result[key] = .double(number) }
      case .bool(let flag): result[key] = .bool(flag)
      }
    }
    result["dependencies"] = .array(job.dependencies.map { .string($0) })
    result["jobid"] = .string(job.name)
    var annotations = job.json["annotations"] ?? [:]
    if let uri = job.uri, var user = annotations["user"] {
      result["uri"] = .string(uri)
      user["uri"] = nil
      annotations["user"] = user.objectValue?.isEmpty == true ? nil : user
    }
    result["annotations"] = annotations
    result["exception"] = exception(of: job.json)
    return .object(result)
  }

  private static func exception(of job: JSON) -> JSON {
    guard job["exception_occurred"]?.boolValue == true else { return ["occurred": false] }
    return [
      "occurred": true, "severity": job["exception_severity"] ?? "", "type": job["exception_type"] ?? "",
      "note": job["exception_note"] ?? "",
    ]
  }
}
