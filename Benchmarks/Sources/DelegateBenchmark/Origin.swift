// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// An origin whose plugin comes and goes, and what it does for jobs that are not delegated.
struct Origin: Sendable {
  let connection: FluxConnection
  /// The plugin's path.
  let plugin: String

  // MARK: The plugin

  func configure(_ targets: [String]) async throws {
    let list = targets.enumerated().map { JSON.object(["uri": .string($1), "label": .string("n\($0)")]) }
    try await connection.rpc("config.load", ["delegate": .array(list)])
  }

  /// - Returns: the agent's process id, once it is attached.
  func load() async throws -> pid_t {
    try await connection.rpc("job-manager.jobtap", ["load": .string(plugin)])
    while true {
      let told = try await connection.rpc("job-manager.jobtap-query", ["name": "delegate.so"])["delegate"]
      if told?["attached"]?.boolValue == true, let pid = told?["agent"]?["pid"]?.intValue { return pid_t(pid) }
      try await Task.sleep(for: .milliseconds(50))
    }
  }

  func remove() async throws {
    try await connection.rpc("job-manager.jobtap", ["remove": "delegate.so"])
    try await cancelAll()
  }

  func cancelAll() async throws {
    try await connection.rpc(
      "job-manager.raiseall",
      [
        "type": "cancel", "severity": 0, "states": 62, "userid": .int(Int64(UInt32.max)), "dry_run": false, "note": "",
      ])
    while try await active() > 0 { try await Task.sleep(for: .milliseconds(50)) }
  }

  /// How many jobs have not ended.
  func active() async throws -> Int {
    let states = try await connection.rpc("job-list.job-stats", [:])["job_states"]
    return ["depend", "priority", "sched", "run", "cleanup"].reduce(0) { $0 + Int(states?[$1]?.intValue ?? 0) }
  }

  // MARK: Plain jobs

  struct Times: Sendable {
    /// From the submission to its answer.
    var submission: [Double] = []
    /// From the submission to the event `clean`.
    var clean: [Double] = []

    static func += (left: inout Times, right: Times) {
      left.submission += right.submission
      left.clean += right.clean
    }
  }

  /// So many plain `true`, one after the other; or for as long as it is wanted.
  func plain(_ count: Int = .max, while isWanted: @Sendable () async throws -> Bool = { true }) async throws -> Times {
    var times = Times()
    while times.clean.count < count, try await isWanted() {
      let start = ContinuousClock.now
      let id = try await DelegateBenchmark.submit(connection, [])
      times.submission.append(DelegateBenchmark.seconds(ContinuousClock.now - start))
      _ = try await DelegateBenchmark.events(connection, id)
      times.clean.append(DelegateBenchmark.seconds(ContinuousClock.now - start))
    }
    return times
  }

  // MARK: Memory

  /// The memory of the broker, in kB.
  func resident() async throws -> Double {
    let pid = try await connection.rpc("attr.get", ["name": "broker.pid"])["value"]?.stringValue ?? ""
    return Self.resident(pid_t(pid) ?? 0)
  }

  /// The memory of a process, in kB.
  static func resident(_ pid: pid_t) -> Double {
    guard let file = fopen("/proc/\(pid)/status", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 256)
    while fgets(&line, 256, file) != nil {
      let words = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(
        whereSeparator: \.isWhitespace)
      if words.first == "VmRSS:", words.count > 1 { return Double(words[1]) ?? 0 }
    }
    return 0
  }
}
