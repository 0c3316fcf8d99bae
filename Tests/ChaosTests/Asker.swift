// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Logging

/// Asks an instance, each time over a connection of its own: whoever is killed or stopped costs one question.
struct Asker: Sendable {
  let uri: FluxURI

  init(path: String) { uri = FluxURI(local: path) }

  static let logger = Logger(label: "chaos") { _ in SwiftLogNoOpLogHandler() }

  @discardableResult func ask(_ topic: String, _ payload: JSON, within limit: Duration = .seconds(30)) async throws
    -> JSON
  {
    try await withConnection { try await $0.rpc(topic, payload, timeout: limit) }
  }

  /// It is not waited for an instance that is not there: when it comes back, it is not ready yet.
  func withConnection<Result: Sendable>(
    _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    var configuration = FluxConnection.Configuration()
    configuration.localRetries = 0
    return try await FluxConnection.withConnection(
      to: uri, configuration: configuration, logger: Self.logger, body)
  }

  /// The jobs in these states: all of them, or the active ones.
  static func jobs(
    _ connection: FluxConnection, areActive: Bool, _ attributes: [String] = ["state"]
  ) async throws -> [(id: JobID, listed: JSON)] {
    var request: JSONObject = [
      "max_entries": 0, "attrs": .array(attributes.map { .string($0) }), "since": 0.0, "constraint": [:],
    ]
    if areActive { request["constraint"] = ["states": ["active"]] }
    var found: [(JobID, JSON)] = []
    for try await response in await connection.stream("job-list.list", .object(request)) {
      for job in try response.json()?["jobs"]?.arrayValue ?? [] {
        if let id = JobID(job["id"]) { found.append((id, job)) }
      }
    }
    return found
  }

  /// A job's log, or nil when it has none.
  static func log(_ connection: FluxConnection, _ id: JobID, _ key: String) async throws -> [EventlogEntry]? {
    guard let text = try await document(connection, id, key) else { return nil }
    return try Eventlog(parsing: text).entries
  }

  static func document(_ connection: FluxConnection, _ id: JobID, _ key: String) async throws -> String? {
    let answer: JSON
    do {
      answer = try await connection.rpc("job-info.lookup", ["id": id.json, "keys": [.string(key)], "flags": 0])
    } catch is RPCError { return nil }
    return answer[key]?.stringValue
  }
}
