// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

/// Follows jobs after their submission: `submit --wait` and `submit --watch`.
actor JobWatcher {
  /// What to do with the jobs.
  struct Options: Sendable {
    /// The event to wait for; nil is the end of the eventlog.
    var wait: String?
    /// Whether their output is shown.
    var isWatching: Bool
    /// Whether lines of output begin with job id and rank.
    var labelIO: Bool
    /// Whether each job's end is told.
    var logsStatus: Bool
    /// Whether each event is told.
    var logsEvents: Bool

    /// The event of the execution eventlog to wait for.
    var execWait: Substring? { wait.flatMap { $0.hasPrefix("exec.") ? $0.dropFirst("exec.".count) : nil } }
  }

  private let connection: FluxConnection
  private let context: CommandContext
  private let options: Options
  /// When the first event of all jobs was: what times are counted from.
  private var start: Double?

  init(connection: FluxConnection, context: CommandContext, options: Options) {
    self.connection = connection
    self.context = context
    self.options = options
  }

  /// Follows a job to the event that is waited for.
  ///
  /// - Returns: the job's exit code; 1 when it never started.
  func follow(_ id: JobID) async throws -> Int32 {
    let (started, isStarted) = AsyncStream<Void>.makeStream()
    return try await withThrowingTaskGroup(of: Int32?.self) { group in
      group.addTask {
        defer { isStarted.finish() }
        return try await self.followMain(id, isStarted)
      }
      group.addTask {
        for await _ in started { return try await self.followExec(id) ? 0 : nil }
        return nil
      }
      var result: Int32 = 0
      while let code = try await group.next() {
        guard let code else { continue }
        result = max(result, code)
        // The event that is waited for was one of the execution eventlog: the main eventlog is of no more interest.
        if options.execWait != nil { group.cancelAll() }
      }
      return result
    }
  }

  private func followMain(_ id: JobID, _ isStarted: AsyncStream<Void>.Continuation) async throws -> Int32 {
    var code: Int32 = 0
    var hasStarted = false
    for try await element in await EventlogWatch.open("eventlog", of: id, on: connection) {
      guard let entry = element?.entry else { continue }
      start = min(start ?? entry.timestamp, entry.timestamp)
      log(id, entry)
      switch entry.name {
      case "exception":
        guard let fields = entry.context, fields["severity"]?.intValue == 0 else { break }
        if !hasStarted { code = max(code, 1) }
        let note = fields["note"]?.stringValue ?? ""
        context.errorOutput.print(
          "job.exception: type=\(fields["type"]?.stringValue ?? "") severity=0" + (note.isEmpty ? "" : " \(note)"))
      case "start":
        hasStarted = true
        if options.isWatching || options.execWait != nil { isStarted.yield() }
      case "finish":
        let status = WaitStatus(rawValue: Int32(truncatingIfNeeded: entry.context?["status"]?.intValue ?? 0))
        code = max(code, Int32(status.returnCode))
        if options.logsStatus {
          say(id, entry.timestamp, "\(status.rawValue > 0 ? "failed" : "complete"): status=\(status.rawValue)")
        }
      default: break
      }
      if entry.name == options.wait { break }
    }
    return code
  }

  /// Follows the execution eventlog.
  ///
  /// - Returns: whether the event that is waited for has come in it.
  private func followExec(_ id: JobID) async throws -> Bool {
    try await withThrowingTaskGroup(of: Void.self) { group in
      var found = false
      for try await element in await EventlogWatch.open("guest.exec.eventlog", of: id, on: connection) {
        guard let entry = element?.entry else { continue }
        log(id, entry, prefix: "exec.")
        if options.isWatching, entry.name == "shell.init" {
          group.addTask { try await self.followOutput(id) }
          if options.execWait == nil { break }
        }
        if let event = options.execWait, entry.name == event {
          found = true
          break
        }
      }
      try await group.waitForAll()
      return found
    }
  }

  private func followOutput(_ id: JobID) async throws {
    let watch = await EventlogWatch.open("guest.output", of: id, on: connection)
    do {
      for try await element in watch {
        guard let entry = element?.entry else { continue }
        show(id, try OutputEntry(entry))
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      // The job had no output.
    }
  }

  private func show(_ id: JobID, _ entry: OutputEntry) {
    let label = options.labelIO ? "\(context.text(of: id)): " : ""
    switch entry {
    case .data(let stream, let rank, let bytes, _):
      let output = stream == "stdout" ? context.output : context.errorOutput
      output.write(options.labelIO ? Self.labelled(bytes, "\(label)\(rank): ") : bytes)
    case .redirect(let stream, let rank, let path):
      context.errorOutput.print("\(label)\(rank): \(stream) redirected to \(path ?? "")")
    case .log(let log):
      var line = "\(label)flux-shell[\(log.rank ?? "")]: "
      if let level = log.label { line += "\(level): " }
      if let component = log.component { line += "\(component): " }
      context.errorOutput.print(line + log.message)
    case .other: break
    }
  }

  /// Every line with `label` before it and a newline after it.
  private static func labelled(_ bytes: [UInt8], _ label: String) -> [UInt8] {
    var lines = bytes.split(separator: 0x0a, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.flatMap { Array(label.utf8) + $0 + [0x0a] }
  }

  private func log(_ id: JobID, _ entry: EventlogEntry, prefix: String = "") {
    guard options.logsEvents else { return }
    var sorted = JSONObject()
    for (key, value) in (entry.context ?? [:]).sorted(by: { $0.key < $1.key }) { sorted[key] = value }
    let fields = sorted.isEmpty ? "" : JSONStyle.jansson.text(.object(sorted))
    say(id, entry.timestamp, "\(prefix)\(entry.name) \(fields)")
  }

  private func say(_ id: JobID, _ timestamp: Double, _ text: String) {
    let seconds = CFormat.string("%4.3f", timestamp - (start ?? timestamp))
    context.errorOutput.print("\(context.text(of: id)): \(seconds)s: \(text)")
  }
}
