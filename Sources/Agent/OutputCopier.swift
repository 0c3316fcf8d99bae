// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Copies the logs of a remote job into the origin job's own, to their end.
///
/// A job that is over within moments has its logs fetched in one piece, when they fit into one. Those of another one are followed, entry by entry. What the origin
/// job's log holds when the copying is done is whole. Entries that were copied before are counted in the origin's log, and left out.
struct OutputCopier: Sendable {
  let origin: FluxConnection
  let pool: TargetPool
  let log: OriginLog
  /// Where the remote job is.
  let uri: FluxURI
  let id: JobID
  let userID: UInt32
  /// The origin job's own logs.
  let guest: GuestJob
  /// Where the owner wants it; nil: in the job's log.
  let files: OutputFiles?

  /// How long a job may run before its logs are followed.
  private static let patience = Duration.milliseconds(100)

  private static let execLog = "guest.exec.eventlog"
  private static let outputLog = "guest.output"

  func copy(_ remote: JobID, _ output: DelegatedJob.Output) async -> DelegatedJob.Event {
    do {
      let target = try await pool.target(uri)
      if output == .rest { try await guest.reopen() }
      if output == .new, files == nil, await target.journal.waitForEnd(of: remote, within: Self.patience),
        try await fetch(remote, target)
      {
        return .copied
      }
      try await follow(remote, target.connection, isNew: output != .rest)
      return .copied
    } catch let failure as OutputWriter.Failure {
      await giveUp(failure)
      return .copied
    } catch { return .copyLost(FluxTarget.failure(error, uri.description)) }
  }

  // MARK: In one piece

  /// - Returns: false when they are too long for one piece: then nothing was written.
  private func fetch(_ remote: JobID, _ target: FluxTarget) async throws -> Bool {
    var logs: [String: String]?
    do { logs = try await target.logs([Self.execLog, Self.outputLog], of: remote) } catch let error as RPCError
      where error.errnum == Errnum.noEntry.rawValue
    {
      // A job whose shell never came up has no output.
      do { logs = try await target.logs([Self.execLog], of: remote) } catch is RPCError { logs = [:] }
    }
    guard let logs else { return false }
    let execution = try Eventlog(parsing: logs[Self.execLog] ?? "").entries.compactMap { adapt($0) }
    let output = try Eventlog(parsing: logs[Self.outputLog] ?? "").entries
    try await guest.append([("exec.eventlog", Self.text(execution)), ("output", Self.text(output))])
    return true
  }

  private static func text(_ entries: [EventlogEntry]) -> String {
    entries.flatMap { LogLines.lines(of: $0) }.joined()
  }

  // MARK: Followed

  /// The logs are watched as `flux job attach` does: the execution log from the job's start, the output from `shell.init`, and never with
  /// WAITCREATE. A watch that waits for a log to come into being makes the broker of flux-core 0.88 abort when the job ends at that
  /// moment (kvs-watch.c: watcher_respond, assertion on the namespace's commit).
  private func follow(_ remote: JobID, _ target: FluxConnection, isNew: Bool) async throws {
    let (shells, shell) = AsyncStream<ShellService.Shell?>.makeStream()
    // Whoever attaches expects output and the shell's service to be there at `shell.init`, or at `complete` when there was no shell: that is
    // passed on last.
    let (opening, isOpen) = AsyncStream<Never>.makeStream()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { isOpen.finish() }
        for await found in shells {
          return try await self.serve(found, remote, target, isNew: isNew) { isOpen.finish() }
        }
      }
      group.addTask {
        defer { shell.finish() }
        try await self.passOn(Self.execLog, as: "exec.eventlog", remote, target, isNew: isNew) { entry in
          if entry.name == "shell.init" || entry.name == "complete" {
            shell.yield(ShellService.Shell(entry))
            for await _ in opening {}
          }
          return self.adapt(entry).map { [$0] } ?? []
        }
      }
      try await group.waitForAll()
    }
  }

  /// Copies the output, and stands for the shell meanwhile.
  private func serve(
    _ shell: ShellService.Shell?, _ remote: JobID, _ target: FluxConnection, isNew: Bool,
    opened: @escaping @Sendable () -> Void
  ) async throws {
    let writer = try await openFiles(isNew: isNew)
    do { try await serve(shell, remote, target, isNew: isNew, writer, opened: opened) } catch {
      await writer?.close()
      throw error
    }
    await writer?.close()
  }

  private func serve(
    _ shell: ShellService.Shell?, _ remote: JobID, _ target: FluxConnection, isNew: Bool, _ writer: OutputWriter?,
    opened: @escaping @Sendable () -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      if let shell {
        let service = ShellService(origin: origin, target: target, name: serviceName, log: log)
        let requests = await service.open()
        group.addTask { if let requests { await service.run(requests, shell) } }
      }
      defer { group.cancelAll() }
      try await passOn(Self.outputLog, as: "output", remote, target, isNew: isNew, written: opened) { entry in
        guard let writer else { return [entry] }
        // Where the output is at home, only home says.
        if try await writer.write(entry) || entry.name == "redirect" { return [] }
        return entry.name == "header" ? [entry] + self.redirections(entry, await writer.offsets) : [entry]
      }
    }
  }

  // MARK: Files

  private func openFiles(isNew: Bool) async throws -> OutputWriter? {
    guard let files else { return nil }
    var offsets: [String: Int] = [:]
    var hasBegun = false
    if !isNew {
      try await scan(Self.outputLog) { entry in
        guard entry.name == "redirect" else { return }
        hasBegun = true
        guard let path = entry.context?["path"]?.stringValue, let offset = entry.context?["offset"]?.intValue else {
          return
        }
        for file in [files.out, files.err] where file?.shown == path { offsets[file?.path ?? ""] = Int(offset) }
      }
    }
    // Without a word of them in the log, nothing was written to the files.
    let writer = OutputWriter(files, isNew: !hasBegun, offsets: offsets)
    do { try await writer.begin() } catch {
      await writer.close()
      throw error
    }
    return writer
  }

  /// What tells whoever attaches where the output is, as the shell writes it after the header; with the length that the file had before.
  private func redirections(_ header: EventlogEntry, _ offsets: [String: Int]) -> [EventlogEntry] {
    guard let files else { return [] }
    return [("stdout", files.out), ("stderr", files.err)].compactMap { stream, file in
      guard let file else { return nil }
      let tasks = header.context?["count"]?[stream]?.intValue ?? 1
      var context: JSONObject = [
        "stream": .string(stream), "rank": .string(tasks > 1 ? "[0-\(tasks - 1)]" : "0"), "path": .string(file.shown),
      ]
      if let offset = offsets[file.path], offset > 0 { context["offset"] = .int(Int64(offset)) }
      return EventlogEntry(timestamp: header.timestamp, name: "redirect", context: context)
    }
  }

  /// A file of the owner's cannot be written: the job ends as one whose shell cannot open its output.
  private func giveUp(_ failure: OutputWriter.Failure) async {
    let words = EventlogEntry(
      timestamp: OriginLog.now, name: "log",
      context: ["rank": 0, "level": 3, "message": .string(failure.message), "component": "output.task"])
    try? await guest.append([("output", words.line)])
    let request: JSON = ["id": id.json, "type": "exec", "severity": 0, "note": .string("output: \(failure.message)")]
    do { try await origin.rpc("job-manager.raise", request) } catch { log.error("\(id): \(failure.message): \(error)") }
  }

  /// Copies one log.
  ///
  /// - Parameters:
  ///   - written: is told whenever something has been written.
  ///   - adapt: is asked about every entry, also about those that were copied before; what it makes of an entry is copied.
  private func passOn(
    _ path: String, as key: String, _ remote: JobID, _ target: FluxConnection, isNew: Bool,
    written: @escaping @Sendable () -> Void = {},
    _ adapt: @escaping @Sendable (EventlogEntry) async throws -> [EventlogEntry]
  ) async throws {
    let known = isNew ? 0 : try await count(path)
    if known > 0 { written() }
    let buffer = LineBuffer()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          while let lines = await buffer.take() {
            try await self.guest.append([(key, lines)])
            written()
          }
        } catch {
          // The reader must not wait for a writer that has gone.
          await buffer.end()
          throw error
        }
      }
      group.addTask {
        do {
          try await self.read(path, skipping: known, remote, target, into: buffer, adapt)
        } catch {
          await buffer.end()
          throw error
        }
        await buffer.end()
      }
      try await group.waitForAll()
    }
  }

  private func read(
    _ path: String, skipping known: Int, _ remote: JobID, _ target: FluxConnection, into buffer: LineBuffer,
    _ adapt: @escaping @Sendable (EventlogEntry) async throws -> [EventlogEntry]
  ) async throws {
    let cursor = LogCursor(skipping: known, into: buffer)
    do {
      do {
        try await take(watch(path, remote, target, .bounded(4096, bytes: 8 << 20)), cursor, adapt)
      } catch let error as ConnectionError where error.code == .limit {
        // It writes faster than home can take it. On a connection of its own the target can be made to wait, and nobody else has to.
        log.debug("\(id): much output: \(path) has a connection of its own now")
        try await pool.withOwnConnection(to: uri) { own in
          await cursor.startOver()
          try await self.take(self.watch(path, remote, own, .pausing(1024, bytes: 4 << 20)), cursor, adapt)
        }
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      // A job that never ran, or wrote nothing, has no such log.
    }
  }

  private func take(
    _ stream: RPCStream, _ cursor: LogCursor, _ adapt: @Sendable (EventlogEntry) async throws -> [EventlogEntry]
  ) async throws {
    for try await response in stream {
      guard let line = try response.json()?["event"]?.stringValue, await cursor.isNew() else { continue }
      await cursor.add(try await adapt(try EventlogEntry(parsing: line)))
    }
  }

  private func watch(
    _ path: String, _ remote: JobID, _ target: FluxConnection, _ buffering: RPCStream.Buffering
  ) async -> RPCStream {
    await target.stream(
      "job-info.eventlog-watch", ["id": remote.json, "path": .string(path), "flags": 0],
      cancelTopic: "job-info.eventlog-watch-cancel", buffering: buffering)
  }

  /// How many entries of the remote log the origin has. The origin's own entries of the execution log are not counted.
  private func count(_ path: String) async throws -> Int {
    var count = 0
    try await scan(path) { if path == Self.outputLog || !Self.isOwn($0) { count += 1 } }
    return count
  }

  /// Goes through the entries that a log of the origin job has. As a stream: the whole of it may be too large for one message.
  private func scan(_ path: String, _ take: (EventlogEntry) -> Void) async throws {
    // Flag 2: after what is there comes a response without an entry.
    let stream = await origin.stream(
      "job-info.eventlog-watch", ["id": id.json, "path": .string(path), "flags": 2],
      cancelTopic: "job-info.eventlog-watch-cancel")
    do {
      for try await response in stream {
        guard let line = try response.json()?["event"]?.stringValue else { return }
        take(try EventlogEntry(parsing: line))
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      // Nothing was written yet.
    }
  }

  // MARK: At the origin

  /// The name of the service that Flux's own clients send standard input to: the shell's at home (flux-core `shell/svc.c`).
  private var serviceName: String { "\(userID)-shell-\(id.encoded(.f58plain))" }

  /// What the origin has written itself, when the job started.
  private static func isOwn(_ entry: EventlogEntry) -> Bool { entry.name == "init" || entry.name == "starting" }

  /// All but the beginning is passed on as it is. Whoever attaches finds the shell at the origin, where the agent stands for it.
  private func adapt(_ entry: EventlogEntry) -> EventlogEntry? {
    guard !Self.isOwn(entry) else { return nil }
    guard entry.name == "shell.init", var context = entry.context else { return entry }
    context["service"] = .string(serviceName)
    context["leader-rank"] = 0
    return EventlogEntry(timestamp: entry.timestamp, name: entry.name, context: context)
  }
}
