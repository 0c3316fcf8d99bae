// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// `job-info.update-watch` and `update-lookup`: a job's R or jobspec as it is now, and whenever it changes.
final class JobUpdates {
  private struct Watch {
    var job: JobID
    var key: String
  }

  private unowned let broker: Broker
  private unowned let manager: JobManager
  private var watches = StreamSet<Watch>()

  init(_ broker: Broker, _ manager: JobManager) {
    self.broker = broker
    self.manager = manager
    manager.observers.append { [weak self] job, entry in
      switch entry.name {
      case "resource-update": self?.tell(job, "R")
      case "jobspec-update": self?.tell(job, "jobspec")
      case "clean": self?.end(job)
      default: break
      }
    }
  }

  var count: Int { watches.count }

  func disconnect(_ departure: Departure) { watches.drop(departure) }

  func lookup(_ request: Request) throws(ServiceError) {
    guard try request.int("flags") == 0 else {
      throw ServiceError(.protocolError, "update-lookup request rejected with invalid flag")
    }
    guard try request.string("key") == "R" else {
      throw ServiceError(.invalid, "update-lookup unsupported key specified")
    }
    let job = try find(request)
    guard let resources = job.resources else { throw ServiceError(.noEntry) }
    broker.respond(request, ["id": job.id.json, "R": resources.json])
  }

  func watch(_ request: Request) throws(ServiceError) {
    guard try request.int("flags") == 0 else {
      throw ServiceError(.protocolError, "update-watch request rejected with invalid flag")
    }
    guard request.isStreaming else {
      throw ServiceError(.protocolError, "update-watch request rejected without streaming RPC flag")
    }
    let key = try request.string("key")
    guard key == "R" || key == "jobspec" else {
      throw ServiceError(.invalid, "update-watch unsupported key specified")
    }
    let job = try find(request)
    guard let value = Self.value(job, key) else { throw ServiceError(.noEntry) }
    broker.respond(request, .object([key: value]))
    guard job.isActive else { throw ServiceError(.noData) }
    _ = try watches.add(request, Watch(job: job.id, key: key))
  }

  func cancel(_ request: Request) {
    guard let number = watches.find(cancelledBy: request), let stream = watches.remove(number) else { return }
    broker.respond(stream, errnum: .noData)
  }

  private func find(_ request: Request) throws(ServiceError) -> Job {
    try manager.whole(try manager.job(try request.jobID(), unknown: ServiceError(.noEntry)))
  }

  private static func value(_ job: Job, _ key: String) -> JSON? { key == "R" ? job.resources?.json : job.current }

  private func tell(_ job: Job, _ key: String) {
    guard !watches.streams.isEmpty, let value = Self.value(job, key) else { return }
    let told = watches.streams.values.filter { $0.state.job == job.id && $0.state.key == key }
    broker.respond(toAll: told.map(\.request)) { Message.payload(of: .object([key: value])) }
  }

  private func end(_ job: Job) {
    for (number, stream) in watches.streams where stream.state.job == job.id {
      watches.remove(number)
      broker.respond(stream.request, errnum: .noData)
    }
  }
}
