// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The fields of `flux jobs -o`: their headings, and what has to be asked of job-list for them.
enum JobFields {
  /// The forms of a job id.
  static let encodings: [String: JobID.Encoding] = [
    "id.dec": .dec, "id.hex": .hex, "id.dothex": .dothex, "id.kvs": .kvs, "id.f58": .f58, "id.f58plain": .f58plain,
    "id.words": .words,
  ]

  private static let fields: [String: (heading: String, attributes: [String])] = [
    "id": ("JOBID", []), "userid": ("UID", ["userid"]), "username": ("USER", ["userid"]),
    "urgency": ("URG", ["urgency"]), "priority": ("PRI", ["priority"]), "state": ("STATE", ["state"]),
    "state_single": ("S", ["state"]), "name": ("NAME", ["name"]), "cwd": ("CWD", ["cwd"]),
    "queue": ("QUEUE", ["queue"]), "project": ("PROJECT", ["project"]), "bank": ("BANK", ["bank"]),
    "ntasks": ("NTASKS", ["ntasks"]), "ncores": ("NCORES", ["ncores"]), "duration": ("DURATION", ["duration"]),
    "nnodes": ("NNODES", ["nnodes"]), "expiration": ("EXPIRATION", ["expiration", "state", "result"]),
    "t_remaining": ("T_REMAINING", ["expiration", "state", "result"]), "ranks": ("RANKS", ["ranks"]),
    "nodelist": ("NODELIST", ["nodelist"]), "success": ("SUCCESS", ["success"]), "result": ("RESULT", ["result"]),
    "result_abbrev": ("RS", ["result"]), "t_submit": ("T_SUBMIT", ["t_submit"]),
    "t_depend": ("T_DEPEND", ["t_depend"]), "t_priority": ("T_PRIORITY", ["t_priority"]),
    "t_sched": ("T_SCHED", ["t_sched"]), "t_run": ("T_RUN", ["t_run"]), "t_cleanup": ("T_CLEANUP", ["t_cleanup"]),
    "t_inactive": ("T_INACTIVE", ["t_inactive"]), "runtime": ("RUNTIME", ["t_run", "t_cleanup"]),
    "status": ("STATUS", ["state", "result"]), "status_abbrev": ("ST", ["state", "result"]),
    "waitstatus": ("WSTATUS", ["waitstatus"]), "returncode": ("RC", ["waitstatus", "result"]),
    "exception.occurred": ("EXCEPTION-OCCURRED", ["exception_occurred"]),
    "exception.severity": ("EXCEPTION-SEVERITY", ["exception_severity"]),
    "exception.type": ("EXCEPTION-TYPE", ["exception_type"]),
    "exception.note": ("EXCEPTION-NOTE", ["exception_note"]), "annotations": ("ANNOTATIONS", ["annotations"]),
    "dependencies": ("DEPENDENCIES", ["dependencies"]),
    "contextual_info": (
      "INFO", ["state", "dependencies", "annotations", "nodelist", "priority", "urgency"]
    ),
    "contextual_time": ("TIME", ["state", "t_run", "t_cleanup", "duration"]),
    "inactive_reason": (
      "INACTIVE-REASON",
      [
        "state", "result", "waitstatus", "exception_occurred", "exception_severity", "exception_type",
        "exception_note",
      ]
    ),
    "annotations.sched.t_estimate": ("T_ESTIMATE", ["annotations"]),
    "annotations.sched.reason_pending": ("REASON", ["annotations"]),
    "annotations.sched.resource_summary": ("RESOURCES", ["annotations"]), "sched": ("SCHED", ["annotations"]),
    "sched.t_estimate": ("T_ESTIMATE", ["annotations"]), "sched.reason_pending": ("REASON", ["annotations"]),
    "sched.resource_summary": ("RESOURCES", ["annotations"]), "user": ("USER", ["annotations"]),
    "delegate_target": ("TARGET", ["annotations"]), "delegate_jobid": ("REMOTE-ID", ["annotations"]),
    "delegate_state": ("DELEGATION", ["annotations"]),
    "delegate_info": ("REASON", ["annotations", "exception_type", "exception_note"]),
    "uri": ("URI", ["annotations"]), "uri.local": ("URI", ["annotations"]),
  ]

  /// Flux's named formats.
  static let formats: [String: String] = [
    "default": "{id.f58:>12} ?:{queue:<8.8} +:{username:<8} {name:<10.10+} {status_abbrev:>2.2} {ntasks:>6} "
      + "{nnodes:>6h} {contextual_time!F:>8h} ?+:{delegate_target:<6} {contextual_info}",
    "delegate": "{id.f58:>12} +:{username:<8} {name:<10.10+} {status_abbrev:>2.2} {nnodes:>6h} {contextual_time!F:>8h} "
      + "+:{delegate_target:<6} {delegate_jobid:>12h} ?:{delegate_state:<10} {delegate_info}",
    "long": "{id.f58:>12} ?:{queue:<8.8} +:{username:<8} {name:<10.10+} {status:>9.9} {ntasks:>6} {nnodes:>6h} "
      + "{t_submit!d:%b%d %R::>12} {t_remaining!F:>12h} {contextual_time!F:>8h} {contextual_info}",
    "deps": "{id.f58:>12} ?:{queue:<8.8} {name:<10.10+} {urgency:<3} {priority:<12} {state:<8.8} {dependencies}",
    "endreason": "{id.f58:>12} ?:{queue:<8.8} +:{username:<8} {name:<10.10+} {status_abbrev:>2.2} "
      + "{t_inactive!d:%b%d %R::>12h} {inactive_reason}",
  ]

  /// A field's heading; nil when there is no such field.
  static func heading(_ name: String) -> String? {
    if encodings[name] != nil { return "JOBID" }
    if let field = fields[name] { return field.heading }
    if name.hasPrefix("annotations.") { return name.dropFirst("annotations.".count).uppercased() }
    return name.hasPrefix("sched.") || name.hasPrefix("user.") ? name.uppercased() : nil
  }

  /// What to ask job-list for.
  static func attributes(of names: [String]) -> [String] {
    var result: Set<String> = []
    for name in names {
      if let field = fields[name] {
        result.formUnion(field.attributes)
      } else if encodings[name] == nil {
        result.insert("annotations")
      }
    }
    return result.sorted()
  }
}
