// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Logging

/// Compares two ways of doing the same, turn by turn in one run, so that what else the machine does falls on both.
///
///     DelegateBenchmark plain COUNT WITHOUT_URI WITH_URI      a job that is not delegated, without and with the plugin
///     DelegateBenchmark accept COUNT ORIGIN_URI TARGET TARGET from submission to the target's acceptance, two targets
///     DelegateBenchmark mirror COUNT TARGET_URI ORIGIN_URI    a job at the target, and the same mirrored from the origin
///     DelegateBenchmark many COUNT TARGET_URI ORIGIN_URI      COUNT at once of each; the lag of the mirror; the origin's memory
///     DelegateBenchmark pending COUNT TARGET_URI ORIGIN_URI   COUNT held jobs at once, until the target has them all
///     DelegateBenchmark home COUNT TARGET_URI ORIGIN_URI PLUGIN
///                                                             a plain job with bad targets configured and used, and without the plugin
///     DelegateBenchmark instance COUNT URI FLUX_URI PROGRAM   an embedded instance, a real Flux ("-": none) and a loop that starts processes
///     DelegateBenchmark storm COUNT ORIGIN_URI PLUGIN         COUNT jobs delegated to nobody at once
///     DelegateBenchmark size COUNT PROGRAM                    embedded instances with a state directory: one that has had COUNT jobs, and one of 1000
@main
struct DelegateBenchmark {
  static let logger = Logger(label: "benchmark") { _ in SwiftLogNoOpLogHandler() }

  static func main() async throws {
    let words = CommandLine.arguments.dropFirst()
    let wanted = ["accept": 5, "home": 5, "instance": 5, "size": 3][words.first ?? ""] ?? 4
    guard words.count == wanted, let count = Int(words[2]), count > 0 else {
      say(
        "usage: DelegateBenchmark plain COUNT WITHOUT_URI WITH_URI | accept COUNT ORIGIN_URI TARGET TARGET | "
          + "mirror, many or pending COUNT TARGET_URI ORIGIN_URI | home COUNT TARGET_URI ORIGIN_URI PLUGIN | "
          + "instance COUNT URI FLUX_URI PROGRAM | storm COUNT ORIGIN_URI PLUGIN | size COUNT PROGRAM")
      exit(2)
    }
    if words.first == "size" {
      try await InstanceSize(program: words[3]).measure(count)
      return try LocalInstance.clean()
    }
    let first = try FluxURI(parsing: words[3])
    switch words.first {
    case "home":
      return try await open(FluxURI(parsing: words[4])) { connection in
        try await Home(origin: Origin(connection: connection, plugin: words[5]), target: words[3]).measure(count)
      }
    case "instance":
      return try await open(first) { instance in
        guard words[4] != "-" else {
          return try await InstanceSpeed(instance: instance, flux: nil, program: words[5]).measure(count)
        }
        try await open(FluxURI(parsing: words[4])) { flux in
          try await InstanceSpeed(instance: instance, flux: flux, program: words[5]).measure(count)
        }
      }
    case "storm":
      return try await open(first) { connection in
        try await open(first) { other in
          let plugin = words[4]
          try await Storm(
            origin: Origin(connection: connection, plugin: plugin), other: Origin(connection: other, plugin: plugin)
          ).measure(count)
        }
      }
    default: break
    }
    if words.first == "plain" {
      let second = try FluxURI(parsing: words[4])
      try await open(first) { without in try await open(second) { with in try await plain(count, without, with) } }
    } else if words.first != "accept" {
      let second = try FluxURI(parsing: words[4])
      try await open(first) { target in
        try await open(second) { origin in
          switch words.first {
          case "many": try await Quantity(target: target, origin: origin, uri: first.description).many(count)
          case "pending": try await Quantity(target: target, origin: origin, uri: first.description).pending(count)
          default: try await mirror(count, target, origin, first.description)
          }
        }
      }
    } else {
      try await open(first) { origin in try await accept(count, origin, words[4], words[5]) }
    }
  }

  private static func open(_ uri: FluxURI, _ body: @escaping @Sendable (FluxConnection) async throws -> Void)
    async throws
  {
    try await FluxConnection.withConnection(to: uri, logger: logger, body)
  }

  // MARK: The comparisons

  private static func plain(_ count: Int, _ without: FluxConnection, _ with: FluxConnection) async throws {
    var times: (without: [Double], with: [Double]) = ([], [])
    for turn in 0..<count + 10 {
      let a = try await timeToClean(without)
      let b = try await timeToClean(with)
      // The first ten warm up.
      guard turn >= 10 else { continue }
      times.without.append(a)
      times.with.append(b)
    }
    say("a plain `true`, submission to clean, \(count) each, in turns")
    report("without the plugin", times.without)
    report("with the plugin", times.with)
    ratio("with / without", times.with, times.without)
  }

  private static func mirror(
    _ count: Int, _ target: FluxConnection, _ origin: FluxConnection, _ uri: String
  ) async throws {
    var times: (direct: [Double], mirrored: [Double]) = ([], [])
    for turn in 0..<count + 10 {
      let a = try await timeToClean(target)
      let b = try await timeToClean(origin, delegate: uri)
      guard turn >= 10 else { continue }
      times.direct.append(a)
      times.mirrored.append(b)
    }
    say("`true`, submission to clean, \(count) each, in turns")
    report("directly at the target", times.direct)
    report("mirrored from the origin", times.mirrored)
    ratio("mirrored / direct", times.mirrored, times.direct)
  }

  private static func accept(_ count: Int, _ origin: FluxConnection, _ near: String, _ far: String) async throws {
    var times: (near: [Double], far: [Double]) = ([], [])
    for turn in 0..<count + 10 {
      let a = try await timeToAcceptance(origin, near)
      let b = try await timeToAcceptance(origin, far)
      guard turn >= 10 else { continue }
      times.near.append(a)
      times.far.append(b)
    }
    say("submission to the target's acceptance (the origin's events submit and delegated), \(count) each, in turns")
    report(near.hasPrefix("ssh") ? "ssh://, connection open" : "local://", times.near)
    report(far.hasPrefix("ssh") ? "ssh://, connection open" : "local://", times.far)
    ratio("second / first", times.far, times.near)
  }

  // MARK: One job

  private static func timeToClean(_ connection: FluxConnection, delegate: String? = nil) async throws -> Double {
    let start = ContinuousClock.now
    let id = try await submit(connection, [], delegate: delegate)
    _ = try await events(connection, id)
    return seconds(ContinuousClock.now - start)
  }

  private static func timeToAcceptance(_ connection: FluxConnection, _ target: String) async throws -> Double {
    let id = try await submit(connection, [Dependency(scheme: "delegate", value: target, options: [:])])
    let log = try await events(connection, id)
    guard let sent = log.first(where: { $0.name == "submit" }), let taken = log.first(where: { $0.name == "delegated" })
    else {
      let words = log.last { $0.name == "exception" }?.context?["note"]?.stringValue ?? ""
      say("the job was not accepted: \(words)")
      exit(1)
    }
    return taken.timestamp - sent.timestamp
  }

  static func submit(
    _ connection: FluxConnection, _ dependencies: [Dependency], delegate: String? = nil, urgency: Int64 = 16
  ) async throws -> JobID {
    var jobspec = try Jobspec(
      Jobspec.Request(
        command: ["true"], environment: [("PATH", "/usr/bin:/bin")], cwd: "/tmp", dependencies: dependencies))
    if let delegate { jobspec.set(attribute: "delegate", to: .string(delegate)) }
    let signed = SignedJobspec(userID: getuid(), jobspec: jobspec.json.text)
    let answer = try await connection.rpc(
      "job-ingest.submit", ["J": .string(signed.text), "urgency": .int(urgency), "flags": 0])
    guard let id = JobID(answer["id"]) else { exit(1) }
    return id
  }

  static func events(_ connection: FluxConnection, _ id: JobID) async throws -> [EventlogEntry] {
    var entries: [EventlogEntry] = []
    let request: JSON = ["id": id.json, "path": "eventlog", "flags": 0]
    for try await response in await connection.stream("job-info.eventlog-watch", request) {
      if let line = try response.json()?["event"]?.stringValue { entries.append(try EventlogEntry(parsing: line)) }
    }
    return entries
  }

  // MARK: Words

  /// Prints a line at once, also into a pipe.
  static func say(_ text: String) {
    print(text)
    fflush(nil)
  }

  static func seconds(_ duration: Duration) -> Double {
    Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
  }

  static func percentile(_ values: [Double], _ fraction: Double) -> Double {
    let sorted = values.sorted()
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * fraction))]
  }

  static func report(_ name: String, _ values: [Double]) {
    say(
      "  \(name): median \(milliseconds(percentile(values, 0.5))) ms, p99 \(milliseconds(percentile(values, 0.99))) ms")
  }

  static func ratio(_ name: String, _ above: [Double], _ below: [Double]) {
    let median = percentile(above, 0.5) / percentile(below, 0.5)
    let tail = percentile(above, 0.99) / percentile(below, 0.99)
    say("  \(name): median \((median * 1000).rounded() / 1000), p99 \((tail * 1000).rounded() / 1000)")
  }

  private static func milliseconds(_ seconds: Double) -> Double { (seconds * 100_000).rounded() / 100 }
}
