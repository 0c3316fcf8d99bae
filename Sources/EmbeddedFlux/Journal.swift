// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-manager.events-journal`: one stream with the events of all jobs.
///
/// First the backlog, a response a job; then a sentinel with id -1 and no events; then a response an event, as they happen.
final class Journal {
  private struct Filter {
    var allow: Set<String>?
    var deny: Set<String>

    func lets(_ name: String) -> Bool { !deny.contains(name) && (allow?.contains(name) ?? true) }
  }

  /// The jobs of the backlog that have not been told of yet: the same in their order, and as a set.
  private final class Backlog {
    private var order: ArraySlice<JobID>
    private(set) var due: Set<JobID>
    /// What has happened meanwhile to those of them, and is in no eventlog.
    private var volatile: [JobID: [EventlogEntry]] = [:]

    init(_ ids: [JobID]) {
      order = ids[...]
      due = Set(ids)
    }

    /// The most that is kept for a job; the oldest goes.
    static let maximumVolatile = 64

    func keep(_ entry: EventlogEntry, of id: JobID) {
      if volatile[id, default: []].count >= Self.maximumVolatile { volatile[id]?.removeFirst() }
      volatile[id, default: []].append(entry)
    }

    func takeVolatile(of id: JobID) -> [EventlogEntry] { volatile.removeValue(forKey: id) ?? [] }

    func next() -> JobID? {
      guard let id = order.popFirst() else { return nil }
      due.remove(id)
      return id
    }
  }

  private struct Stream {
    var filter: Filter
    let backlog: Backlog
  }

  private unowned let broker: Broker
  private unowned let manager: JobManager
  private var streams = StreamSet<Stream>(maximum: StreamLimit.maximumOfAllJobs)

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    manager.observers.append { [weak self] job, entry in self?.tell(job, entry) }
    manager.volatileObservers.append { [weak self] job, entry in self?.tell(job, entry, isVolatile: true) }
  }

  var count: Int { streams.count }

  func open(_ request: Request) throws(ServiceError) {
    guard request.isStreaming else { throw ServiceError(.protocolError) }
    let filter = Filter(
      allow: request.payload["allow"]?.objectValue.map { Set($0.keys) },
      deny: Set(request.payload["deny"]?.objectValue?.keys ?? []))
    let isFull = request.payload["full"]?.boolValue ?? false
    let ids = manager.order.filter { id in manager.jobs[id].map { isFull || $0.isActive } ?? false }
    let number = try streams.add(request, Stream(filter: filter, backlog: Backlog(ids)))
    broker.respond(request, from: { [weak self] in self?.replay(number) ?? false })
  }

  /// Tells of the next job of the backlog: all that has happened to it until now.
  private func replay(_ number: UInt64) -> Bool {
    guard let (request, stream) = streams.streams[number] else { return false }
    guard let id = stream.backlog.next() else {
      broker.respond(request, ["id": -1, "events": []])
      return false
    }
    guard let known = manager.jobs[id] else { return true }
    do throws(ServiceError) {
      let job = try manager.whole(known)
      let events = job.eventlog.filter { stream.filter.lets($0.name) }
      if !events.isEmpty { broker.respond(request, response(job, events)) }
      for entry in stream.backlog.takeVolatile(of: id) { broker.respond(request, response(job, [entry])) }
      return true
    } catch {
      streams.remove(number)
      broker.respond(request, errnum: error.errnum, text: error.text)
      return false
    }
  }

  func cancel(_ request: Request) {
    guard let number = streams.find(cancelledBy: request), let stream = streams.remove(number) else { return }
    broker.respond(stream, errnum: .noData)
  }

  func disconnect(_ departure: Departure) { streams.drop(departure) }

  private func tell(_ job: Job, _ entry: EventlogEntry, isVolatile: Bool = false) {
    guard !streams.streams.isEmpty else { return }
    var told: [Request] = []
    for (request, stream) in streams.streams.values where stream.filter.lets(entry.name) {
      // What is still to come of the backlog has this event in it.
      guard !stream.backlog.due.contains(job.id) else {
        if isVolatile { stream.backlog.keep(entry, of: job.id) }
        continue
      }
      told.append(request)
    }
    broker.respond(toAll: told) { Message.payload(of: response(job, [entry])) }
  }

  private func response(_ job: Job, _ events: [EventlogEntry]) -> JSON {
    var response: JSONObject = ["id": job.id.json, "events": .array(events.map(\.json))]
    if events.contains(where: { $0.name == "submit" }) { response["jobspec"] = job.current }
    if events.contains(where: { $0.name == "alloc" }), let resources = job.resources { response["R"] = resources.json }
    return .object(response)
  }
}
