// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Logging
import Testing

/// Two instances, B a target of A under the label `bee`.
func withPair(
  _ host: Host, _ body: @Sendable @escaping (_ a: Instance, _ b: Instance) async throws -> Void
) async throws {
  try await withInstance(host, name: "a") { a in
    try await withInstance(host, name: "b") { b in
      try await configure(a, ["bee": b.uri])
      let loaded = try await a("jobtap", "load", Build.plugin)
      try #require(loaded.code == 0, "\(loaded)")
      // A job that is older than the agent may have been sent by an earlier one, and would be looked for first.
      _ = try await a.agent()
      try await body(a, b)
    }
  }
}

func configure(_ a: Instance, _ targets: KeyValuePairs<String, String>) async throws {
  let json = targets.map { "{\"uri\":\"\($0.value)\",\"label\":\"\($0.key)\"}" }.joined(separator: ",")
  try await load(a, "{\"delegate\":[\(json)]}")
}

/// Gives an instance a configuration, as JSON.
func load(_ a: Instance, _ json: String) async throws {
  let answer = try await a("config", "load", input: json)
  try #require(answer.code == 0, "\(answer)")
}

/// The target of the one job of an instance is lost while it runs there: it is said that nobody knows how it fares, and home serves everybody.
func expectUnknown(_ a: Instance, _ target: String, within limit: Duration = .seconds(120)) async throws {
  let shown = try await eventually(within: limit) {
    try await a("jobs", "-n", "-o", "{status_abbrev} {user.delegate.unknown}")
  } until: {
    $0.out.contains(target)
  }
  #expect(shown.out.hasPrefix("R \(target)"), "\(shown)")
  let home = try await a("run", "echo", "home")
  #expect(home.out == "home\n", "\(home)")
}

/// Asks an instance directly, for what has no command on every host.
func ask(_ instance: Instance, _ topic: String, _ payload: JSON) async throws -> JSON {
  let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  return try await FluxConnection.withConnection(to: FluxURI(parsing: instance.uri), logger: logger) {
    try await $0.rpc(topic, payload)
  }
}

/// The names of a job's events, once it has ended.
func eventlog(_ instance: Instance, _ id: String) async throws -> Output {
  try await eventually {
    try await instance("job", "eventlog", id)
  } until: {
    $0.out.contains(" clean")
  }
}

private let fields = "{status_abbrev} {returncode} {exception.type} {nnodes}"

/// The last job's line on an instance, once it has ended.
func ending(_ instance: Instance) async throws -> String {
  let listed = try await eventually {
    try await instance("jobs", "-a", "-n", "-c1", "-o", "{state} \(fields)")
  } until: {
    $0.out.hasPrefix("INACTIVE")
  }
  return listed.out.trimmed
}
