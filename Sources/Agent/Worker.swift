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
    case .look(let uri, let mark, let record): return await look(uri, mark, record)
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
      return .unreadable("the job's record: \(error)", isGone: error.errnum == Errnum.noEntry.rawValue)
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

  // MARK: The target

  private func look(_ uri: FluxURI, _ mark: Mark, _ record: JobRecord) async -> DelegatedJob.Event {
    do { return .found(try await pool.target(uri).find(mark, like: record)) } catch {
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
