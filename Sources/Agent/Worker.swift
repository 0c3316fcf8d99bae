// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

#if canImport(Glibc)
  import Glibc
#endif

/// Carries out one action and sends back what came of it.
struct Worker: Sendable {
  let origin: FluxConnection
  let settings: Settings
  let pool: TargetPool
  let governor: TargetGovernor
  let log: OriginLog
  /// Writes to the origin's KVS.
  let writer: KVSWriter
  /// The reference of an empty directory in the origin's KVS.
  let emptyDirectory: String
  let roots = GuestRoots()
  /// Which jobs' targets are out of sight.
  let sights: Sights
  let sink: AsyncStream<Agent.Input>.Continuation
  /// How many records are read at once: a thousand jobs that are submitted together must not fill every queue on
  /// the way.
  let gate = Gate(256)

  func perform(_ action: DelegatedJob.Action, for id: JobID) async {
    if let event = await outcome(of: action, for: id) { sink.yield(.job(id, event)) }
  }

  /// How long a job must last to be annotated.
  private static let annotationDelay = Duration.milliseconds(200)

  private func outcome(of action: DelegatedJob.Action, for id: JobID) async -> DelegatedJob.Event? {
    switch action {
    case .read(let submission): return await gate.run { await read(id, submission) }
    case .choose(let request, let tried, let isReachable):
      let chooser = Chooser(settings: settings, pool: pool, governor: governor, id: id)
      return await chooser.choose(request, excluding: tried, isReachable: isReachable)
    case .awaitPatience(let uri, let delivery, let patience, let isHeld, let number):
      return await awaitPatience(id, uri, delivery, patience, isHeld: isHeld, number)
    case .sweep(let uri):
      await pool.sweep(uri)
      return nil
    case .renew: return await guest(id).renew()
    case .follow(let uri, let remote): return await follow(id, remote, uri)
    case .unfollow(let uri, let remote):
      if let target = try? await pool.target(uri) { await target.journal.unfollow(remote) }
      return nil
    case .copy(let uri, let remote, let output, let files):
      let copier = OutputCopier(
        origin: origin, pool: pool, log: log, uri: uri, id: id, userID: getuid(), guest: guest(id), files: files)
      return await copier.copy(remote, output)
    case .control(let uri, let remote, let control): return await self.control(uri, remote, control)
    case .annotate(let memo):
      // Most jobs are over before anybody has looked.
      let since = OriginLog.now
      do { try await Task.sleep(for: Self.annotationDelay) } catch { return nil }
      var memo = memo
      // What is shown of the delegation holds from a time on.
      if var shown = memo["delegate"]?.objectValue {
        shown["since"] = .double(since)
        memo["delegate"] = .object(shown)
      }
      await origin.notify("job-manager.memo", ["id": id.json, "volatile": true, "memo": .object(memo)])
      return nil
    case .prepare: return await guest(id).prepare()
    case .discard:
      await guest(id).discard()
      return nil
    case .allocate(let resources, let started, let isHeld, let target):
      return await guest(id).allocate(resources, started: started, isHeld: isHeld, target: target)
    case .memo(let memo):
      await origin.notify("job-manager.memo", ["id": id.json, "volatile": false, "memo": .object(memo)])
      return nil
    case .store(let resources, let isInherited):
      await guest(id).store(resources, withLink: !isInherited)
      return .stored
    case .start: return await write("job-manager.delegate.start", ["id": id.json])
    case .finish(let status):
      return await write(
        "job-manager.delegate.finish", ["id": id.json, "status": .int(Int64(status.rawValue))])
    case .close(let holds): return await guest(id).close(holds)
    case .release(let holds, let status, let hasLogs):
      await guest(id).release(holds, status, hasLogs: hasLogs)
      return nil
    case .cancelHere(let note):
      _ = await write(
        "job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0, "note": .string(note)])
      return nil
    case .look(let uri, let mark): return await look(uri, mark)
    case .search(let mark): return await search(mark)
    case .submit(let uri, let jobspec): return await submit(id, uri, jobspec)
    case .cancel(let uri, let remote, let note): return await cancel(uri, remote, note)
    case .post(let name, let context):
      return await write(
        "job-manager.post-event.post", ["id": id.json, "name": .string(name), "context": .object(context)])
    case .raise(let type, let severity, let note):
      return await write(
        "job-manager.raise",
        [
          "id": id.json, "type": .string(type), "severity": .int(Int64(severity)),
          "note": .string(note.cut(to: DelegatedJob.maximumNoteLength)),
        ])
    case .pause(let seconds):
      do { try await Task.sleep(for: .seconds(seconds)) } catch { return nil }
      return .timer
    case .complain, .forget, .report: return nil
    }
  }

  // MARK: The origin

  private func read(_ id: JobID, _ submission: Submission?) async -> DelegatedJob.Event {
    do {
      if let submission {
        return .read(
          JobRecord(
            id: id, userID: submission.userID, urgency: submission.urgency, jobspec: try await jobspec(of: id).jobspec,
            eventlog: [], submitted: submission.time))
      }
      async let logged = origin.rpc("job-manager.getattr", ["id": id.json, "attrs": ["eventlog"]])
      async let stored = jobspec(of: id)
      let eventlog = try await Self.entries(logged["eventlog"])
      let (userID, jobspec) = try await stored
      let urgency = eventlog.last { $0.name == "urgency" || $0.name == "submit" }?.context?["urgency"]?.intValue ?? 16
      return .read(
        JobRecord(
          id: id, userID: userID, urgency: Int(urgency), jobspec: jobspec, eventlog: eventlog))
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

  /// The jobspec as it was submitted, with its environment.
  private func jobspec(of id: JobID) async throws -> (userID: UInt32, jobspec: Jobspec) {
    let answer = try await origin.rpc("job-info.lookup", ["id": id.json, "keys": ["J"], "flags": 0])
    let signed = try SignedJobspec(parsing: answer["J"]?.stringValue ?? "")
    return (signed.userID, try Jobspec(parsing: signed.jobspec))
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

  private func guest(_ id: JobID) -> GuestJob {
    GuestJob(origin: origin, writer: writer, log: log, emptyDirectory: emptyDirectory, roots: roots, id: id)
  }

  // MARK: The target

  private func look(_ uri: FluxURI, _ mark: Mark) async -> DelegatedJob.Event {
    do { return .found(try await pool.target(uri).find(mark)) } catch {
      return .unreachable(FluxTarget.failure(error, uri.description))
    }
  }

  /// Asks all targets that are configured. One that cannot be asked may have what is looked for.
  private func search(_ mark: Mark) async -> DelegatedJob.Event {
    let pool = pool
    let targets = await settings.targets.targets
    let answers = await targets.askedAtOnce { target -> Result<FluxTarget.Copy?, TargetFailure> in
      do { return .success(try await pool.target(target.uri).copy(of: mark)) } catch {
        return .failure(FluxTarget.failure(error, target.name))
      }
    }
    var best: (target: Target, copy: FluxTarget.Copy)?
    var failure: TargetFailure?
    for (target, answer) in zip(targets, answers) {
      switch answer {
      case .failure(let found): failure = found
      case .success(nil): break
      case .success(let copy?):
        if copy.attempt >= mark.attempt, copy.attempt > best?.copy.attempt ?? 0 { best = (target, copy) }
      }
    }
    if let failure { return .unreachable(failure) }
    return best.map { .foundAt($0.target, $0.copy.id, attempt: $0.copy.attempt) } ?? .found(nil)
  }

  private func submit(_ id: JobID, _ uri: FluxURI, _ jobspec: Jobspec) async -> DelegatedJob.Event {
    if let words = governor.admit(id, to: await settings.targets.target(at: uri)) { return .deferred(words) }
    let target: FluxTarget
    var adapted = jobspec
    do {
      target = try await pool.target(uri, isUrgent: true)
      await settings.targets.rules[uri]?.apply(to: &adapted)
      // The queue that the owner has named is one of home. Where there is none of that name, the target's default is meant.
      if let queue = jobspec.queue, adapted.queue == queue, try await !target.hasQueue(queue) {
        adapted.remove(system: "queue")
      }
    } catch { return .unreachable(FluxTarget.failure(error, uri.description)) }
    switch await target.submit(adapted) {
    case .accepted(let id): return .accepted(id)
    case .rejected(let words): return .rejected(words)
    case .unreachable(let failure): return .unreachable(failure)
    case .unanswered(let failure): return .unanswered(failure)
    }
  }

  /// Cancels a job that a target has, and that should not be there: by the origin's record of its job another one is its copy, or it was
  /// cancelled when nobody could pass that on.
  func judge(_ stray: TargetJournal.Stray, at uri: FluxURI) async {
    await gate.run { await judgement(of: stray, at: uri) }
  }

  private func judgement(of stray: TargetJournal.Stray, at uri: FluxURI) async {
    do {
      let target = try await pool.target(uri)
      let record = try await record(of: stray.mark.id)
      // The same id, submitted at another time, is a job of another instance.
      guard record.first?.timestamp == stray.mark.submitted else { return await target.journal.forget(stray.id) }
      let note: String
      switch StrayVerdict(stray.id, at: uri, isHeld: stray.isHeld, record: record) {
      case .second: note = "a second copy of \(stray.mark.id), which was never released"
      case .cancelled: note = "canceled at its origin, where it was \(stray.mark.id)"
      case .abandoned: note = "out of sight of its origin for too long, where \(stray.mark.id) has gone elsewhere"
      case .handedOver: return await target.journal.forget(stray.id)
      case .unknown: return
      }
      try await target.cancel(stray.id, note: note)
      log.info("\(stray.mark.id): \(stray.id) at \(uri) was canceled: \(note)")
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      // It is of another origin, or its job was purged here.
      if let target = try? await pool.target(uri) { await target.journal.forget(stray.id) }
    } catch { log.debug("\(stray.mark.id): \(stray.id) at \(uri): \(error)") }
  }

  private func record(of id: JobID) async throws -> [EventlogEntry] {
    let answer = try await origin.rpc("job-info.lookup", ["id": id.json, "keys": ["eventlog"], "flags": 0])
    return try Eventlog(parsing: answer["eventlog"]?.stringValue ?? "").entries
  }

  /// The terms are the job's own, else those of the target.
  private func awaitPatience(
    _ id: JobID, _ uri: FluxURI, _ delivery: Delivery?, _ patience: Double?, isHeld: Bool, _ number: Int
  ) async -> DelegatedJob.Event? {
    let start = ContinuousClock.now
    // The target's terms may change meanwhile; and once the target is seen again nobody waits.
    while sights.isLost(id, number) {
      let terms = await settings.targets.terms[uri]
      let waits = isHeld || (delivery ?? terms?.delivery) == .atLeastOnce
      let left = ContinuousClock.now.duration(
        to: start + .seconds(patience ?? terms?.patience ?? Delivery.defaultPatience))
      if waits, left <= .zero { return .impatient(number) }
      do { try await Task.sleep(for: waits ? min(left, Self.patiencePeriod) : Self.patiencePeriod) } catch {
        return nil
      }
    }
    return nil
  }

  /// How often it is looked whether the terms have changed.
  private static let patiencePeriod = Duration.seconds(10)

  private func follow(_ id: JobID, _ remote: JobID, _ uri: FluxURI) async -> DelegatedJob.Event? {
    do {
      let sink = sink
      let journal = try await pool.target(uri).journal
      let backlog = journal.backlog
      await journal.follow(remote) { event in
        if case .remote(let events) = event {
          sink.yield(.told(id, events, backlog))
        } else {
          sink.yield(.job(id, event))
        }
      }
      return nil
    } catch { return .lost(FluxTarget.failure(error, uri.description)) }
  }

  private func control(
    _ uri: FluxURI, _ remote: JobID, _ control: DelegatedJob.Control
  ) async -> DelegatedJob.Event {
    do {
      guard let refusal = try await pool.target(uri).control(remote, control) else { return .controlled }
      log.info(refusal.words)
      return refusal.isForgotten ? .forgotten(refusal.words) : .controlled
    } catch { return .uncontrolled(FluxTarget.failure(error, uri.description)) }
  }

  private func cancel(_ uri: FluxURI, _ remote: JobID, _ note: String) async -> DelegatedJob.Event {
    do {
      try await pool.target(uri).cancel(remote, note: note)
      return .cancelled
    } catch { return .unreachable(FluxTarget.failure(error, uri.description)) }
  }
}
