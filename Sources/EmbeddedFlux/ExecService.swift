// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob
import FluxWire
import Glibc
import NIOCore

/// `rexec` (RFC 42), as far as a plugin needs it to keep a process: `exec` in the foreground without output, and `kill`.
final class ExecService: Service {
  private static let maximumProcesses = 64
  private unowned let broker: Broker
  private let log: LogService
  private let surroundings: any Surroundings
  private let uri: String
  private var processes = StreamSet<pid_t>()

  init(_ broker: Broker, _ log: LogService, _ surroundings: any Surroundings, uri: String) {
    self.broker = broker
    self.log = log
    self.surroundings = surroundings
    self.uri = uri
  }

  var isIdle: Bool { processes.streams.isEmpty }

  private enum Topic: String, ServiceTopic {
    case exec = "rexec.exec"
    case kill = "rexec.kill"
  }

  var topics: [String] { Topic.all }
  var streamCount: Int { processes.count }

  func handle(_ request: Request) throws(ServiceError) {
    guard request.isOwner else { throw ServiceError(.notPermitted) }
    switch try Topic(request) {
    case .exec: try exec(request)
    case .kill: try kill(request)
    }
  }

  /// A client that goes away takes its processes with it.
  func disconnect(_ departure: Departure) {
    for pid in processes.drop(departure) { surroundings.signal(group: pid, SIGKILL) }
  }

  func stop() {
    for (_, pid) in processes.streams.values { surroundings.signal(group: pid, SIGTERM) }
  }

  private func exec(_ request: Request) throws(ServiceError) {
    guard request.isStreaming, request.payload["flags"]?.intValue == 0 else {
      throw ServiceError(.notImplemented, "rexec.exec: only foreground processes without output are supported")
    }
    let words = request.payload["cmd"]?["cmdline"]?.arrayValue?.compactMap(\.stringValue) ?? []
    guard !words.isEmpty else { throw ServiceError(.protocolError, "command string is empty") }
    guard processes.streams.count < Self.maximumProcesses else { throw ServiceError(.busy, "too many processes") }
    let pid = try start(words, request.payload["cmd"]?["cwd"]?.stringValue)
    let number = try processes.add(request, pid)
    broker.respond(request, ["type": "started", "pid": .int(Int64(pid))])
    let box = NIOLoopBound(self, eventLoop: broker.loop)
    let isWatched = surroundings.watch(process: pid) { event in
      if case .exited(let status) = event { box.value.ended(number, status) }
    }
    if !isWatched { surroundings.signal(group: pid, SIGKILL) }
  }

  private func start(_ words: [String], _ directory: String?) throws(ServiceError) -> pid_t {
    var environment = Environment.current
    environment["FLUX_URI"] = uri
    let null = open("/dev/null", O_RDWR | O_CLOEXEC)
    guard null >= 0 else { throw ServiceError(Errnum(UInt32(errno))) }
    defer { close(null) }
    let spawn = Spawn(
      command: words, environment: environment, directory: directory, hostname: nil, input: null, output: null,
      error: null)
    do { return try surroundings.start(spawn) } catch {
      throw ServiceError(
        Errnum(UInt32(error.errnum)), "error launching process: \(String(cString: strerror(error.errnum)))")
    }
  }

  private func ended(_ number: UInt64, _ status: Int32) {
    guard let request = processes.remove(number) else { return }
    broker.respond(request, ["type": "finished", "status": .int(Int64(status))])
    broker.respond(request, errnum: .noData)
  }

  private func kill(_ request: Request) throws(ServiceError) {
    let pid = pid_t(truncatingIfNeeded: try request.int("pid"))
    guard processes.streams.values.contains(where: { $0.state == pid }) else { throw ServiceError(.noEntry) }
    // The whole process group, as Flux does it.
    let errnum = surroundings.signal(group: pid, CInt(truncatingIfNeeded: try request.int("signum")))
    guard errnum == 0 else { throw ServiceError(Errnum(UInt32(errnum))) }
    broker.respond(request)
  }
}

/// The environment of this process.
enum Environment {
  static var current: [String: String] {
    var variables: [String: String] = [:]
    var next = cjobtap_environment()
    while let entry = next?.pointee {
      let text = String(cString: entry)
      if let split = text.firstIndex(of: "=") {
        variables[String(text[..<split])] = String(text[text.index(after: split)...])
      }
      next = next?.advanced(by: 1)
    }
    return variables
  }
}
