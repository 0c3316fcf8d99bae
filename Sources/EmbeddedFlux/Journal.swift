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

  private unowned let broker: Broker
  private unowned let manager: JobManager
  private var streams = StreamSet<Filter>()

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    manager.observers.append { [weak self] job, entry in self?.tell(job, entry) }
    manager.volatileObservers.append { [weak self] job, entry in self?.tell(job, entry) }
  }

  var count: Int { streams.streams.count }

  func open(_ request: Request) throws(ServiceError) {
    guard request.isStreaming else { throw ServiceError(.protocolError) }
    let filter = Filter(
      allow: request.payload["allow"]?.objectValue.map { Set($0.keys) },
      deny: Set(request.payload["deny"]?.objectValue?.keys ?? []))
    let isFull = request.payload["full"]?.boolValue ?? false
    for id in manager.order {
      guard let known = manager.jobs[id], isFull || known.isActive else { continue }
      let job = try manager.whole(known)
      let events = job.eventlog.filter { filter.lets($0.name) }
      if !events.isEmpty { broker.respond(request, response(job, events)) }
    }
    broker.respond(request, ["id": -1, "events": []])
    _ = streams.add(request, filter)
  }

  func cancel(_ request: Request) {
    guard let number = streams.find(cancelledBy: request), let stream = streams.remove(number) else { return }
    broker.respond(stream, errnum: .noData)
  }

  func disconnect(_ departure: Departure) { streams.drop(departure) }

  private func tell(_ job: Job, _ entry: EventlogEntry) {
    guard !streams.streams.isEmpty else { return }
    for (request, filter) in streams.streams.values where filter.lets(entry.name) {
      broker.respond(request, response(job, [entry]))
    }
  }

  private func response(_ job: Job, _ events: [EventlogEntry]) -> JSON {
    var response: JSONObject = ["id": job.id.json, "events": .array(events.map(\.json))]
    if events.contains(where: { $0.name == "submit" }) { response["jobspec"] = job.current }
    if events.contains(where: { $0.name == "alloc" }), let resources = job.resources { response["R"] = resources.json }
    return .object(response)
  }
}
