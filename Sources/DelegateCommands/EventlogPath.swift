// SPDX-License-Identifier: LGPL-3.0-only

/// The short names of a job's eventlogs.
struct EventlogPath {
  /// Where the eventlog is under the job's directory.
  let path: String
  /// The event that ends it, where there is one.
  let lastEvent: String?

  /// The eventlog that a user names: a short name, or a path.
  init(_ name: String) {
    switch name {
    case "eventlog": (path, lastEvent) = ("eventlog", "clean")
    case "exec", "guest.exec.eventlog": (path, lastEvent) = ("guest.exec.eventlog", "done")
    case "output", "guest.output": (path, lastEvent) = ("guest.output", nil)
    case "input", "guest.input": (path, lastEvent) = ("guest.input", nil)
    default: (path, lastEvent) = (name, nil)
    }
  }

  /// What to say when there is no such eventlog.
  func notFound(job: String) -> CommandFailure {
    CommandFailure(path == "eventlog" ? "job \(job) not found" : "eventlog path \(path) not found")
  }
}
