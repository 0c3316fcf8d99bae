// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

#if canImport(Glibc)
  import Glibc
#endif

/// What the agent answers to people: the service `delegate-agent` of the origin, for its owner alone. The verbs `targets`, `drain`, `undrain` and
/// `job` ask it.
struct AgentService: Sendable {
  /// The service's name. Only one agent of an instance can have it.
  static let name = "delegate-agent"
  /// How long a target may take to answer when its latency is measured.
  private static let pingTime = Duration.seconds(2)

  let origin: FluxConnection
  let settings: Settings
  let pool: TargetPool
  let governor: TargetGovernor
  let drains: DrainRecord
  let log: OriginLog
  let sink: AsyncStream<Agent.Input>.Continuation

  /// How many requests are answered at once; those that come then are refused.
  static let maximumRequests = 16

  /// Answers until cancelled.
  func run(_ requests: AsyncStream<Message>) async {
    let slots = Slots(Self.maximumRequests)
    await withDiscardingTaskGroup { group in
      for await request in requests {
        guard ShellService.mayAsk(request) else {
          await origin.respond(to: request, errnum: Errnum.notPermitted.rawValue)
          continue
        }
        guard slots.take() else {
          let words = "the agent answers \(Self.maximumRequests) requests already: try again in a moment"
          await origin.respond(to: request, errnum: Errnum.busy.rawValue, text: words)
          continue
        }
        group.addTask {
          await serve(request)
          slots.giveBack()
        }
      }
      group.cancelAll()
    }
  }

  private func serve(_ request: Message) async {
    do { await origin.respond(to: request, try await answer(request)) } catch let error as RPCError {
      await origin.respond(to: request, errnum: error.errnum, text: error.text)
    } catch { await origin.respond(to: request, errnum: Errnum.invalid.rawValue, text: "\(error)") }
  }

  private func answer(_ request: Message) async throws -> JSON {
    let payload = try request.json() ?? [:]
    switch (request.topic ?? "").dropFirst(Self.name.utf8.count + 1) {
    case "targets": return ["targets": .array(await targets())]
    case "jobs": return ["jobs": .array(await jobs())]
    case "drain":
      let target = try await target(payload)
      let reason = String((payload["reason"]?.stringValue ?? "").prefix(TargetTerms.maximumReasonLength))
      try await drains.add(target.uri, TargetAdmission.Drain(reason: reason, since: OriginLog.now))
      log.info("\(target.name): drained" + (reason.isEmpty ? "" : ": \(reason)"))
      return [:]
    case "undrain":
      let target = try await target(payload)
      if await settings.targets.terms[target.uri]?.drain != nil {
        throw RequestError.drainedByConfiguration(target.name)
      }
      try await drains.remove(target.uri)
      log.info("\(target.name): takes jobs again: undrained")
      return [:]
    default:
      throw RPCError(
        errnum: Errnum.notImplemented.rawValue, text: "Unknown service method '\(request.topic ?? "")'",
        topic: request.topic ?? "")
    }
  }

  private func target(_ payload: JSON) async throws -> Target {
    let list = await settings.targets
    let selection = try DelegationRequest.target(payload["target"]?.stringValue ?? "")
    guard let target = try list.named(selection) else { throw RequestError.noTarget }
    return target
  }

  private func jobs() async -> [JSON] {
    let (answers, answer) = AsyncStream<[DelegatedJob.Summary]>.makeStream()
    sink.yield(.list(answer))
    // Ends without an answer when the agent stops.
    var found: [DelegatedJob.Summary] = []
    for await jobs in answers {
      found = jobs
      break
    }
    return found.sorted { $0.id < $1.id }.map(\.json)
  }

  // MARK: Targets

  /// The configured targets in their order, and those that jobs have named by their URIs.
  private func targets() async -> [JSON] {
    var targets = await settings.targets.targets
    let configured = Set(targets.map(\.uri))
    targets += governor.known.filter { !configured.contains($0) }.sorted { $0.description < $1.description }.map {
      Target(uri: $0)
    }
    return await targets.askedAtOnce { await row($0) }
  }

  private func row(_ target: Target) async -> JSON {
    let standing = governor.standing(of: target.uri)
    let status = await pool.status(of: target.uri)
    var row: JSONObject = ["uri": .string(target.uri.description), "jobs": .int(Int64(standing.jobs))]
    if let label = target.label { row["label"] = .string(label) }
    var state = status.word
    if let connected = status.connected {
      if let latency = await latency(of: connected) { row["latency"] = .double(latency) } else { state = "silent" }
      if let version = await version(of: connected) { row["version"] = .string(version) }
    }
    if let drain = standing.drain {
      var object: JSONObject = ["reason": .string(drain.reason)]
      if let since = drain.since { object["timestamp"] = .double(since) }
      row["drain"] = .object(object)
    }
    if let paused = standing.paused {
      row["paused"] = ["reason": .string(paused.reason), "seconds": .double(paused.seconds)]
    }
    row["state"] = .string(state)
    if let (words, time) = status.lastError { row["error"] = ["message": .string(words), "timestamp": .double(time)] }
    if let seconds = status.retry { row["retry"] = .double(seconds) }
    return .object(row)
  }

  private func latency(of connection: FluxConnection) async -> Double? {
    let start = ContinuousClock.now
    do { try await connection.rpc("attr.get", ["name": "security.owner"], timeout: Self.pingTime) } catch { return nil }
    return (ContinuousClock.now - start) / .seconds(1)
  }

  private func version(of connection: FluxConnection) async -> String? {
    let answer = try? await connection.rpc("attr.get", ["name": "version"], timeout: Self.pingTime)
    return answer?["value"]?.stringValue?.cut(to: String.maximumWordsLength)
  }
}
