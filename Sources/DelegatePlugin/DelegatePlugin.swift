// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import Delegation
import FluxJob

/// The plugin inside the job manager: it checks requests, holds jobs, tells the agent of them, and keeps the agent running.
///
/// Everything runs on the job manager's thread. Nothing here waits. It holds no truth: what it knows of a job, it is told anew by
/// the job manager whenever it is loaded.
final class DelegatePlugin {
  /// The most jobs that are held at once; one more is rejected at submission. Bounds the memory in the job manager.
  static let maximumJobs = 1 << 20

  private let plugin: OpaquePointer
  private let flux: OpaquePointer
  private let supervisor: AgentSupervisor
  private let link: AgentLink
  private var jobs: Set<UInt64> = []
  private var isUnloading = false

  /// - Throws: ``PluginConfiguration/Mistake`` when the arguments of `flux jobtap load` are wrong.
  init(_ plugin: OpaquePointer) throws {
    guard let flux = flux_jobtap_get_flux(plugin) else { throw PluginConfiguration.Mistake() }
    self.plugin = plugin
    self.flux = flux
    let log = PluginLog(flux)
    let configuration: PluginConfiguration
    do { configuration = try PluginConfiguration(plugin) } catch {
      log.error("delegate: not loaded: \(error.message)")
      throw error
    }
    link = AgentLink(flux, log)
    supervisor = AgentSupervisor(flux, configuration, log)
  }

  /// Registers the callbacks and starts the agent.
  func register() -> Bool {
    let me = Unmanaged.passUnretained(self).toOpaque()
    let dependency: flux_plugin_f = { _, _, args, data in DelegatePlugin.from(data)?.dependency(args) ?? -1 }
    let event: flux_plugin_f = { _, _, args, data in DelegatePlugin.from(data)?.event(args) ?? 0 }
    let query: flux_plugin_f = { _, _, args, data in DelegatePlugin.from(data)?.query(args) ?? 0 }
    let attach: flux_msg_handler_f = { _, _, message, data in DelegatePlugin.from(data)?.attach(message) }
    let disconnect: flux_msg_handler_f = { _, _, message, data in DelegatePlugin.from(data)?.disconnect(message) }
    guard flux_plugin_add_handler(plugin, "job.dependency.\(DelegationRequest.scheme)", dependency, me) == 0,
      flux_plugin_add_handler(plugin, "job.event.*", event, me) == 0,
      flux_plugin_add_handler(plugin, "plugin.query", query, me) == 0,
      flux_jobtap_service_register(plugin, "attach", attach, me) == 0,
      flux_jobtap_service_register(plugin, "disconnect", disconnect, me) == 0
    else { return false }
    supervisor.start()
    return true
  }

  /// The job manager removes the plugin: the agent is told, and stops.
  func unload() {
    isUnloading = true
    link.close()
    supervisor.stop()
  }

  private static func from(_ data: UnsafeMutableRawPointer?) -> DelegatePlugin? {
    data.map { Unmanaged<DelegatePlugin>.fromOpaque($0).takeUnretainedValue() }
  }

  // MARK: Jobs

  /// A job asks for delegation: at its submission, when the plugin is loaded with jobs waiting, and when the job manager restarts.
  private func dependency(_ args: OpaquePointer?) -> CInt {
    guard let input = PluginArguments.input(args), let id = JobID(input["id"]), let value = input["dependency"] else {
      return PluginArguments.reject(args, "delegate: the job manager's arguments could not be read")
    }
    do { _ = try DelegationRequest(dependency: try Dependency(value)) } catch {
      return PluginArguments.reject(args, error is RequestError ? "\(error)" : "delegate: \(error)")
    }
    guard jobs.count < Self.maximumJobs || jobs.contains(id.rawValue) else {
      return PluginArguments.reject(
        args, "delegate: \(Self.maximumJobs) delegated jobs are held already; try again later")
    }
    guard flux_jobtap_dependency_add(plugin, id.rawValue, DelegationRequest.dependencyDescription) == 0, hold(id) else {
      return PluginArguments.reject(args, "delegate: the job manager would not hold the job")
    }
    return 0
  }

  /// Follows a job until the job manager forgets it.
  private func hold(_ id: JobID) -> Bool {
    guard jobs.insert(id.rawValue).inserted else { return true }
    let entry = Unmanaged.passRetained(HeldJob(id, self))
    let forget: flux_free_f = { pointer in
      guard let pointer else { return }
      let entry = Unmanaged<HeldJob>.fromOpaque(pointer)
      let job = entry.takeUnretainedValue()
      job.plugin?.forget(job.id)
      entry.release()
    }
    guard flux_jobtap_job_aux_set(plugin, id.rawValue, "delegate::job", entry.toOpaque(), forget) == 0 else {
      jobs.remove(id.rawValue)
      entry.release()
      return false
    }
    guard flux_jobtap_job_subscribe(plugin, id.rawValue) == 0 else { return false }
    link.send(["type": "job", "id": id.json])
    return true
  }

  private func forget(_ id: JobID) {
    jobs.remove(id.rawValue)
    if !isUnloading { link.send(["type": "gone", "id": id.json]) }
  }

  /// An event of a held job.
  private func event(_ args: OpaquePointer?) -> CInt {
    guard link.isAttached, let input = PluginArguments.input(args), let id = JobID(input["id"]),
      let entry = input["entry"], jobs.contains(id.rawValue)
    else { return 0 }
    link.send(["type": "event", "id": id.json, "entry": entry])
    return 0
  }

  // MARK: The agent and whoever asks

  private func attach(_ message: OpaquePointer?) {
    guard let message else { return }
    guard link.attach(message) else { return }
    for id in jobs.sorted() { link.send(["type": "job", "id": JobID(rawValue: id).json]) }
    link.send(["type": "ready"])
    supervisor.agentAttached()
  }

  private func disconnect(_ message: OpaquePointer?) {
    guard let message else { return }
    link.disconnect(message)
  }

  private func query(_ args: OpaquePointer?) -> CInt {
    let state: JSON = [
      "jobs": .int(Int64(jobs.count)), "attached": .bool(link.isAttached), "agent": supervisor.state,
    ]
    return PluginArguments.output(args, ["delegate": state])
  }

  /// What hangs on a job in the job manager.
  private final class HeldJob {
    let id: JobID
    weak var plugin: DelegatePlugin?

    init(_ id: JobID, _ plugin: DelegatePlugin) {
      self.id = id
      self.plugin = plugin
    }
  }
}
