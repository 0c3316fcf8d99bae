// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob

#if canImport(Glibc)
  import Glibc
#endif

/// Keeps the agent process running.
///
/// The broker itself runs it: the supervisor sends a streaming `rexec.exec` request (RFC 42), so nothing is forked in the job
/// manager, and the broker ends the process with itself. When the process ends it is started anew after a delay that doubles from
/// 0.1 s to 30 s, and is 0.1 s again after an agent that had attached and lived for a minute.
final class AgentSupervisor {
  private static let shortestDelay = 0.1
  private static let longestDelay = 30.0
  private static let healthyLife = 60

  private let flux: OpaquePointer
  private let configuration: PluginConfiguration
  private let log: PluginLog
  private var exec: OpaquePointer?
  private var timer: OpaquePointer?
  private var pid: Int64?
  private var startedAt = 0
  private var hasAttached = false
  private var delay = AgentSupervisor.shortestDelay
  private var starts: Int64 = 0
  private var lastError: String?

  init(_ flux: OpaquePointer, _ configuration: PluginConfiguration, _ log: PluginLog) {
    self.flux = flux
    self.configuration = configuration
    self.log = log
  }

  /// What `flux jobtap query delegate.so` shows.
  var state: JSON {
    var state: JSON = ["path": .string(configuration.agent), "starts": .int(starts)]
    if let pid { state["pid"] = .int(pid) }
    if let lastError { state["last_error"] = .string(lastError) }
    return state
  }

  func agentAttached() { hasAttached = true }

  /// Starts the agent.
  func start() {
    starts &+= 1
    startedAt = Self.now()
    hasAttached = false
    let request: JSON = [
      "cmd": [
        "cmdline": [.string(configuration.agent), "agent"], "env": [:], "opts": [:], "channels": [], "cwd": "/",
      ],
      "flags": 0,
    ]
    guard let future = flux_rpc(flux, "rexec.exec", request.text, UINT32_MAX, CInt(CJOBTAP_RPC_STREAMING)) else {
      return ended("the request to start it could not be sent")
    }
    let continuation: flux_continuation_f = { _, data in
      guard let data else { return }
      Unmanaged<AgentSupervisor>.fromOpaque(data).takeUnretainedValue().answered()
    }
    exec = future
    if flux_future_then(future, -1, continuation, Unmanaged.passUnretained(self).toOpaque()) < 0 {
      drop()
      ended("its life could not be watched")
    }
  }

  /// Stops the agent and everything that watches it.
  func stop() {
    if let timer { flux_watcher_destroy(timer) }
    timer = nil
    if let pid {
      // It keeps nothing; and one that was stopped must not be in its successor's way.
      let request: JSON = ["pid": .int(pid), "signum": .int(Int64(SIGKILL))]
      flux_future_destroy(flux_rpc(flux, "rexec.kill", request.text, UINT32_MAX, CInt(CJOBTAP_RPC_NORESPONSE)))
    }
    drop()
  }

  /// The broker says something of the process.
  private func answered() {
    guard let future = exec else { return }
    var text: UnsafePointer<CChar>?
    guard flux_rpc_get(future, &text) == 0 else {
      let words = flux_future_error_string(future).map { String(cString: $0) } ?? "unknown error"
      let reason = lastError ?? words
      drop()
      return ended(reason)
    }
    if let text, let answer = try? JSON(parsing: String(cString: text)) {
      switch answer["type"]?.stringValue {
      case "started":
        pid = answer["pid"]?.intValue
        lastError = nil
      case "finished": lastError = Self.words(status: answer["status"]?.intValue ?? 0)
      default: break
      }
    }
    flux_future_reset(future)
  }

  /// The process has ended, or could not be started: tries again later.
  private func ended(_ reason: String) {
    lastError = reason
    if hasAttached, Self.now() - startedAt >= Self.healthyLife { delay = Self.shortestDelay }
    log.warning("delegate: the agent has ended (\(reason)); it is started again in \(delay) s")
    let fire: flux_watcher_f = { _, _, _, data in
      guard let data else { return }
      Unmanaged<AgentSupervisor>.fromOpaque(data).takeUnretainedValue().again()
    }
    timer = flux_timer_watcher_create(
      flux_get_reactor(flux), delay, 0, fire, Unmanaged.passUnretained(self).toOpaque())
    if let timer { flux_watcher_start(timer) }
    delay = min(delay * 2, Self.longestDelay)
  }

  private func again() {
    if let timer { flux_watcher_destroy(timer) }
    timer = nil
    start()
  }

  private func drop() {
    if let exec { flux_future_destroy(exec) }
    exec = nil
    pid = nil
  }

  private static func words(status: Int64) -> String {
    let status = WaitStatus(rawValue: Int32(truncatingIfNeeded: status))
    if let signal = status.signal { return "signal \(signal)" }
    return "exit code \(status.exitCode ?? 0)"
  }

  private static func now() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec
  }
}
