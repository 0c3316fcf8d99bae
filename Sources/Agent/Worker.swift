// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Carries out one action and sends back what came of it.
struct Worker: Sendable {
  let origin: FluxConnection
  let pool: TargetPool
  let log: OriginLog
  let sink: AsyncStream<Agent.Input>.Continuation

  func perform(_ action: DelegatedJob.Action, for id: JobID) async {
    if let event = await outcome(of: action, for: id) { sink.yield(.job(id, event)) }
  }

  private func outcome(of action: DelegatedJob.Action, for id: JobID) async -> DelegatedJob.Event? {
    switch action {
    case .read: return await read(id)
    case .choose(let selection): return await Chooser(origin: origin, pool: pool).choose(selection)
    case .follow(let uri, let remote):
      return await Follower(origin: origin, pool: pool, id: id, sink: sink).follow(remote, at: uri)
    case .allocate(let resources): return await allocate(id, resources)
    case .start: return await override(["event": "start", "jobid": id.json])
    case .finish(let status):
      return await override(["event": "finish", "jobid": id.json, "status": .int(Int64(status.rawValue))])
    case .look(let uri, let mark): return await look(uri, mark)
    case .submit(let uri, let jobspec, let urgency): return await submit(uri, jobspec, urgency)
    case .cancel(let uri, let remote, let note): return await cancel(uri, remote, note)
    case .post(let name, let context):
      return await write(
        "job-manager.post-event.post", ["id": id.json, "name": .string(name), "context": .object(context)])
    case .raise(let type, let severity, let note):
      return await write(
        "job-manager.raise",
        [
          "id": id.json, "type": .string(type), "severity": .int(Int64(severity)),
          "note": .string(String(note.prefix(1000))),
        ])
    case .pause(let seconds):
      do { try await Task.sleep(for: .seconds(seconds)) } catch { return nil }
      return .timer
    case .complain, .forget: return nil
    }
  }

  // MARK: The origin

  private func read(_ id: JobID) async -> DelegatedJob.Event {
    do {
      async let logged = origin.rpc("job-manager.getattr", ["id": id.json, "attrs": ["eventlog"]])
      async let stored = origin.rpc("job-info.lookup", ["id": id.json, "keys": ["J"], "flags": 0])
      let eventlog = try await Self.entries(logged["eventlog"])
      let signed = try SignedJobspec(parsing: try await stored["J"]?.stringValue ?? "")
      let jobspec = try Jobspec(parsing: signed.jobspec)
      let urgency = eventlog.last { $0.name == "urgency" || $0.name == "submit" }?.context?["urgency"]?.intValue ?? 16
      return .read(
        JobRecord(
          id: id, userID: signed.userID, urgency: Int(urgency), jobspec: jobspec, eventlog: eventlog))
    } catch let error as RPCError {
      // A job that is not there is ENOENT to job-info and EINVAL to the job manager.
      let isGone = error.errnum == Errnum.noEntry.rawValue || error.errnum == Errnum.invalid.rawValue
      return .unreadable("the job's record: \(error)", isGone: isGone)
    } catch let error as FormatError {
      return .unusable("the job's record cannot be used: \(error)")
    } catch {
      return .unreadable("the job's record: \(error)", isGone: false)
    }
  }

  /// `getattr` answers with the eventlog as an array, as the job manager holds it; the record in the KVS is text.
  private static func entries(_ json: JSON?) throws -> [EventlogEntry] {
    if let text = json?.stringValue { return try Eventlog(parsing: text).entries }
    return try (json?.arrayValue ?? []).map { try EventlogEntry($0) }
  }

  private func write(_ topic: String, _ payload: JSON) async -> DelegatedJob.Event {
    do {
      try await origin.rpc(topic, payload)
      return .written
    } catch { return .unwritten("\(topic): \(error)") }
  }

  // MARK: A mirrored job's way to RUN

  /// The longest run of an execution that nothing runs in, in seconds: ten years. Without it, the time limit would end the
  /// origin job with success when the remote one is still running.
  private static let longestRun = 315_360_000

  /// Writes the resources where everybody looks for them, has the execution wait for our word, and lets the job go.
  private func allocate(_ id: JobID, _ remote: ResourceSet) async -> DelegatedJob.Event {
    // The time limit is the target's to enforce: two clocks would disagree about it.
    var resources = remote
    resources.expiration = 0
    let content: JSON = [
      "key": .string("\(id.encoded(.kvs)).R"), "flags": 0,
      "dirent": ["ver": 1, "type": "val", "data": .string(Base64.encode(resources.json.text.utf8))],
    ]
    let test: JSONObject = [
      "attributes.system.exec.test.override": 1,
      "attributes.system.exec.test.run_duration": .string("\(Self.longestRun)s"),
      "attributes.system.exec.test.wait_status": 256,
    ]
    do {
      async let committed = origin.rpc("kvs.commit", ["namespace": "primary", "flags": 0, "ops": [content]])
      async let updated = origin.rpc(
        "job-manager.post-event.post", ["id": id.json, "name": "jobspec-update", "context": .object(test)])
      _ = try await (committed, updated)
      try await origin.rpc("job-manager.delegate.allocate", ["id": id.json, "R": resources.json])
      return .written
    } catch { return .unwritten("the job's start: \(error)") }
  }

  /// How often job-exec is asked that does not know the job yet, at first 2 ms apart.
  private static let overrideTries = 12

  /// Speaks to job-exec, which knows a job only a moment after it went to RUN.
  private func override(_ request: JSON) async -> DelegatedJob.Event {
    var pause = Duration.milliseconds(2)
    for attempt in 1... {
      do {
        try await origin.rpc("job-exec.override", request)
        return .written
      } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue && attempt < Self.overrideTries {
        do { try await Task.sleep(for: pause) } catch { return .unwritten("the agent stops") }
        pause *= 2
      } catch { return .unwritten("job-exec.override: \(error)") }
    }
    return .unwritten("job-exec.override: no answer")
  }

  // MARK: The target

  private func look(_ uri: FluxURI, _ mark: Mark) async -> DelegatedJob.Event {
    do { return .found(try await pool.target(uri).find(mark)) } catch {
      return .unreachable(FluxTarget.failure(error, uri.description))
    }
  }

  private func submit(_ uri: FluxURI, _ jobspec: Jobspec, _ urgency: Int) async -> DelegatedJob.Event {
    let target: FluxTarget
    do { target = try await pool.target(uri) } catch {
      return .unreachable(FluxTarget.failure(error, uri.description))
    }
    switch await target.submit(jobspec, urgency: urgency) {
    case .accepted(let id): return .accepted(id)
    case .rejected(let words): return .rejected(words)
    case .unreachable(let failure): return .unreachable(failure)
    case .unanswered(let failure): return .unanswered(failure)
    }
  }

  private func cancel(_ uri: FluxURI, _ remote: JobID, _ note: String) async -> DelegatedJob.Event {
    do {
      try await pool.target(uri).cancel(remote, note: note)
      return .cancelled
    } catch { return .unreachable(FluxTarget.failure(error, uri.description)) }
  }
}
