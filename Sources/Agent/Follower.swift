// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Follows a remote job to its end, and passes its output on to the origin job's own logs.
///
/// The output is passed on entry by entry, and `finished` is said only when all of it has been: what the origin job's log holds when it
/// ends is whole. Entries that an earlier agent has passed on are counted in the origin's log, and left out.
struct Follower: Sendable {
  let origin: FluxConnection
  let pool: TargetPool
  let id: JobID
  let sink: AsyncStream<Agent.Input>.Continuation

  /// Returns nil when the remote job is over, else why it can no longer be followed.
  func follow(_ remote: JobID, at uri: FluxURI) async -> DelegatedJob.Event? {
    do {
      let target = try await pool.target(uri).connection
      if let status = try await untilOver(remote, target) { tell(.finished(status)) }
      tell(.over)
      return nil
    } catch {
      return .lost(FluxTarget.failure(error, uri.description))
    }
  }

  private enum Part: Sendable {
    case ended(WaitStatus?)
    case logsAreWhole
    case logsAreLate
  }

  /// How long the logs may go on after the job's end, before they are read anew.
  private static let lateness = Duration.seconds(3)

  /// Follows the job and its logs side by side. Returns its wait status when both have ended, so that all that it has written has been
  /// passed on by then.
  ///
  /// The logs are watched as `flux job attach` does: the execution log from the job's start, the output from `shell.init`, and never with
  /// WAITCREATE. A watch that waits for a log to come into being makes the broker of flux-core 0.88 abort when the job ends at that
  /// moment (kvs-watch.c: watcher_respond, assertion on the namespace's commit).
  private func untilOver(_ remote: JobID, _ target: FluxConnection) async throws -> WaitStatus? {
    let (starts, start) = AsyncStream<Void>.makeStream()
    let (status, isWhole) = try await withThrowingTaskGroup(of: Part.self) { group in
      group.addTask {
        for await _ in starts { try await self.logs(remote, target) }
        return .logsAreWhole
      }
      group.addTask {
        defer { start.finish() }
        return .ended(try await self.events(remote, target) { start.yield() })
      }
      defer { group.cancelAll() }
      return try await Self.wait(&group)
    }
    if !isWhole { try await logs(remote, target) }
    return status
  }

  private static func wait(_ group: inout ThrowingTaskGroup<Part, any Error>) async throws -> (WaitStatus?, Bool) {
    var end: WaitStatus??
    var isWhole = false
    while let part = try await group.next() {
      switch part {
      case .ended(let status):
        end = .some(status)
        group.addTask {
          try await Task.sleep(for: lateness)
          return .logsAreLate
        }
      case .logsAreWhole: isWhole = true
      case .logsAreLate: return (end ?? nil, false)
      }
      if let end, isWhole { return (end, true) }
    }
    return (end ?? nil, isWhole)
  }

  private func logs(_ remote: JobID, _ target: FluxConnection) async throws {
    let (shells, shell) = AsyncStream<Void>.makeStream()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        defer { shell.finish() }
        try await self.passOn("guest.exec.eventlog", as: "exec.eventlog", remote, target) { entry in
          if entry.name == "shell.init" { shell.yield() }
          return self.adapt(entry)
        }
      }
      group.addTask {
        for await _ in shells { try await self.passOn("guest.output", as: "output", remote, target) { $0 } }
      }
      try await group.waitForAll()
    }
  }

  private func tell(_ event: RemoteEvent) { sink.yield(.job(id, .remote(event))) }

  /// Follows the remote eventlog. Returns its wait status, nil when it never ran.
  private func events(
    _ remote: JobID, _ target: FluxConnection, started: () -> Void
  ) async throws -> WaitStatus? {
    var status: WaitStatus?
    let request: JSON = ["id": remote.json, "path": "eventlog", "flags": 0]
    let watch = await target.stream("job-info.eventlog-watch", request, cancelTopic: "job-info.eventlog-watch-cancel")
    for try await response in watch {
      guard let line = try response.json()?["event"]?.stringValue else { continue }
      let entry = try EventlogEntry(parsing: line)
      switch entry.name {
      case "start":
        let answer = try await target.rpc("job-info.lookup", ["id": remote.json, "keys": ["R"], "flags": 0])
        started()
        tell(.started(at: entry.timestamp, try ResourceSet(parsing: answer["R"]?.stringValue ?? "")))
      case "exception" where entry.context?["severity"]?.intValue == 0:
        tell(
          .exception(
            type: entry.context?["type"]?.stringValue ?? "exec", note: entry.context?["note"]?.stringValue ?? ""))
      case "finish":
        status = WaitStatus(rawValue: Int32(truncatingIfNeeded: entry.context?["status"]?.intValue ?? 0))
      default: break
      }
    }
    return status
  }

  // MARK: Logs

  /// Copies a log of the remote job into one of the origin job.
  private func passOn(
    _ path: String, as key: String, _ remote: JobID, _ target: FluxConnection,
    _ adapt: @escaping @Sendable (EventlogEntry) -> EventlogEntry?
  ) async throws {
    let known = try await count(path)
    let buffer = LineBuffer()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        do {
          while let lines = await buffer.take() { try await self.append(lines, to: key) }
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
    _ path: String, skipping known: Int, _ remote: JobID, _ target: FluxConnection,
    into buffer: LineBuffer,
    _ adapt: @Sendable (EventlogEntry) -> EventlogEntry?
  ) async throws {
    var left = known
    let request: JSON = ["id": remote.json, "path": .string(path), "flags": 0]
    let watch = await target.stream("job-info.eventlog-watch", request, cancelTopic: "job-info.eventlog-watch-cancel")
    do {
      for try await response in watch {
        guard let line = try response.json()?["event"]?.stringValue,
          let entry = adapt(try EventlogEntry(parsing: line))
        else { continue }
        if left > 0 { left -= 1 } else { await buffer.add(entry.line) }
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      // A job that never ran, or wrote nothing, has no such log.
    }
  }

  /// How many entries of the remote log the origin has. The origin's own entries of the execution log are not counted.
  private func count(_ path: String) async throws -> Int {
    do {
      let answer = try await origin.rpc("job-info.lookup", ["id": id.json, "keys": [.string(path)], "flags": 0])
      let entries = try Eventlog(parsing: answer[path]?.stringValue ?? "").entries
      return path == "guest.output" ? entries.count : entries.filter { $0.name.hasPrefix("shell.") }.count
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue { return 0 }
  }

  /// The shell's events are passed on; those of the execution itself the origin writes.
  private func adapt(_ entry: EventlogEntry) -> EventlogEntry? {
    guard entry.name.hasPrefix("shell.") else { return nil }
    var entry = entry
    if entry.name == "shell.init" { entry.context?["service"] = .string("0-shell-\(id.encoded(.f58plain))") }
    return entry
  }

  /// How long the origin job's logs may take to come into being, after the remote job has written something.
  private static let patience = Duration.seconds(60)

  private func append(_ lines: String, to key: String) async throws {
    let content: JSON = [
      "key": .string(key), "flags": 32,
      "dirent": ["ver": 1, "type": "val", "data": .string(Base64.encode(lines.utf8))],
    ]
    let request: JSON = ["namespace": .string("job-\(id.encoded(.dec))"), "flags": 0, "ops": [content]]
    let end = ContinuousClock.now + Self.patience
    var pause = Duration.milliseconds(2)
    while true {
      do {
        try await origin.rpc("kvs.commit", request)
        return
      } catch let error as RPCError where ContinuousClock.now < end && Self.mayCome.contains(error.errnum) {
        try await Task.sleep(for: pause)
        pause = min(pause * 2, .milliseconds(200))
      }
    }
  }

  /// ENOENT and ENOTSUP: there is no such namespace yet.
  private static let mayCome: Set<UInt32> = [2, 95]
}
