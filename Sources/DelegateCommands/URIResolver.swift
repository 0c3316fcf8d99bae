// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc

/// Finds the instance that a user means: by URI, by job, or by process.
struct URIResolver: Sendable {
  /// Which instance to ask about jobs.
  var options: ConnectionOptions
  var context: CommandContext

  /// The URI of `target`: a URI, a job id, `jobid:ID`, `pid:N`, or nothing for the instance itself.
  func resolve(_ target: String) async throws -> FluxURI {
    let scheme = target.firstIndex(of: ":").map { String(target[..<$0]) }
    switch scheme {
    case "local", "ssh": return try FluxURI(parsing: target)
    case "pid": return try ofProcess(String(target.dropFirst("pid:".count)))
    case "jobid": return try await ofJob(String(target.dropFirst("jobid:".count)))
    case nil: return try await ofJob(target)
    case let other?:
      throw CommandFailure(
        "No plugin for URI scheme \(other); write local:///path, ssh://host/path, pid:N or a job id")
    }
  }

  /// The same instance for others on this host.
  static func local(_ uri: FluxURI) -> FluxURI {
    uri.scheme == .local ? uri : FluxURI(local: uri.path)
  }

  /// The same instance for others on other hosts.
  static func remote(_ uri: FluxURI) -> FluxURI {
    guard uri.scheme == .local else { return uri }
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    let bytes = name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    var result = uri
    result.scheme = .ssh
    result.host = String(decoding: bytes, as: UTF8.self)
    return result
  }

  private func ofJob(_ text: String) async throws -> FluxURI {
    let found: String = try await context.withConnection(options) { connection in
      if text.isEmpty { return try await connection.rpc("attr.get", ["name": "local-uri"])["value"]?.stringValue ?? "" }
      guard let id = try? JobID(parsing: text) else { throw CommandFailure("\(text) is not a valid Flux jobid") }
      let response: JSON
      do {
        response = try await connection.rpc(
          "job-list.list-id", ["id": id.json, "attrs": ["state", "annotations"]])
      } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
        throw CommandFailure("jobid \(text) not found")
      }
      let job = response["job"] ?? [:]
      guard job["state"]?.intValue == Int64(JobState.run.rawValue) else {
        throw CommandFailure("jobid \(text) is not running")
      }
      guard let uri = job.value(at: "annotations.user.uri")?.stringValue, !uri.isEmpty else {
        throw CommandFailure("URI not found for job \(text)")
      }
      return uri
    }
    return try FluxURI(parsing: found)
  }

  /// The FLUX_URI of a process; that of a broker's first child for a broker, whose own names the enclosing instance.
  private func ofProcess(_ text: String) throws -> FluxURI {
    guard let pid = pid_t(text), pid > 0 else { throw CommandFailure("'\(text)' is not a process id") }
    let status = String(decoding: try FileContents.read("/proc/\(pid)/status", label: "pid:\(pid)"), as: UTF8.self)
    let name = status.prefix { !$0.isNewline }
    let target = name.contains("flux-broker") ? try Self.firstChild(of: pid) : pid
    let bytes = try FileContents.read("/proc/\(target)/environ", label: "pid:\(target)")
    for entry in bytes.split(separator: 0) {
      let variable = String(decoding: entry, as: UTF8.self)
      if variable.hasPrefix("FLUX_URI=") { return try FluxURI(parsing: String(variable.dropFirst("FLUX_URI=".count))) }
    }
    throw CommandFailure("PID \(target) doesn't seem to have a FLUX_URI")
  }

  private static func firstChild(of pid: pid_t) throws -> pid_t {
    let directory = "/proc/\(pid)/task"
    if let stream = opendir(directory) {
      defer { closedir(stream) }
      while let entry = readdir(stream) {
        let task = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        guard let bytes = try? FileContents.read("\(directory)/\(task)/children", label: "") else { continue }
        let first = String(decoding: bytes, as: UTF8.self).prefix { $0 != " " }
        if let child = pid_t(first) { return child }
      }
    }
    throw CommandFailure("PID \(pid) is a flux-broker and no child found")
  }
}
