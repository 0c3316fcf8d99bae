// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc

/// The job manager's side of jobtap plugins: loads the same shared objects as Flux does, and calls them on the event loop.
final class PluginHost {
  unowned let broker: Broker
  let log: LogService
  private let surroundings: any Surroundings
  weak var manager: JobManager?
  private(set) var plugins: [HostPlugin] = []
  /// The job of the callback that is under way: what `FLUX_JOBTAP_CURRENT_JOB` means.
  var currentJob: Job?

  init(_ broker: Broker, _ log: LogService, _ surroundings: any Surroundings) {
    self.broker = broker
    self.log = log
    self.surroundings = surroundings
  }

  /// The instance's configuration.
  var configuration: () -> JSON = { [:] }

  /// Why a plugin will not have a configuration; nil when all will.
  func objection(to configuration: JSON) -> String? {
    for plugin in plugins { if let words = Self.objection(plugin, configuration) { return words } }
    return nil
  }

  private static func objection(_ plugin: HostPlugin, _ configuration: JSON) -> String? {
    let arguments = HostArguments(input: { ["conf": configuration] }, output: [:])
    guard let result = plugin.call("conf.update", arguments), result < 0 else { return nil }
    return arguments.output["errmsg"]?.stringValue ?? "\(plugin.fileName) refuses the configuration"
  }

  var names: [String] { plugins.map(\.fileName) }

  // MARK: Load and remove

  /// Loads a plugin: its init, then its callbacks for every active job.
  func load(_ path: String, _ configuration: JSON?) throws(ServiceError) {
    let name = String(path.split(separator: "/").last ?? "")
    guard !plugins.contains(where: { $0.fileName == name }) else {
      throw ServiceError(.exists, "\(name) already loaded")
    }
    guard access(path, R_OK) == 0 else { throw ServiceError(Errnum(UInt32(errno)), "\(path): \(lastError())") }
    guard let library = surroundings.load(library: path) else {
      throw ServiceError(.invalid, "dlopen: \(dlerror().map { String(cString: $0) } ?? "cannot be loaded")")
    }
    guard let symbol = dlsym(library, "flux_plugin_init") else {
      dlclose(library)
      throw ServiceError(.invalid, "\(path): there is no flux_plugin_init in it: not a Flux plugin")
    }
    let plugin = HostPlugin(path: path, fileName: name, configuration: configuration, host: self, library: library)
    typealias Initialize = @convention(c) (OpaquePointer?) -> CInt
    let initialize = unsafeBitCast(symbol, to: Initialize.self)
    guard initialize(plugin.pointer) >= 0 else {
      plugin.unload()
      throw ServiceError(.invalid, "\(path): flux_plugin_init failed")
    }
    if let words = Self.objection(plugin, self.configuration()) {
      plugin.unload()
      throw ServiceError(.invalid, words)
    }
    plugins.append(plugin)
    introduce(plugin)
  }

  /// A plugin that comes late is told of the jobs that are there.
  private func introduce(_ plugin: HostPlugin) {
    for id in manager?.order ?? [] {
      guard let job = manager?.jobs[id], job.isActive else { continue }
      _ = plugin.call("job.create", job, self)
      _ = plugin.call("job.new", job, self)
      guard job.state == .depend else { continue }
      for dependency in job.jobspec.dependencies {
        _ = plugin.call("job.dependency.\(dependency.scheme)", job, self, extra: ["dependency": dependency.json])
      }
      _ = plugin.call("job.state.depend", job, self)
    }
  }

  /// - Throws: ENOENT when no plugin has that name.
  func remove(_ name: String) throws(ServiceError) {
    let chosen = plugins.filter { $0.fileName == name || name == "all" }
    guard !chosen.isEmpty || name == "all" else { throw ServiceError(.noEntry, "Failed to find plugin to remove") }
    for plugin in chosen {
      for job in manager?.jobs.values.map({ $0 }) ?? [] { free(job, owner: plugin) }
      plugins.removeAll { $0 === plugin }
      plugin.unload()
    }
  }

  func unloadAll() {
    for plugin in plugins { try? remove(plugin.fileName) }
  }

  func query(_ name: String) throws(ServiceError) -> JSON {
    guard let plugin = plugins.first(where: { $0.fileName == name }) else {
      throw ServiceError(.noEntry, "\(name): plugin not found")
    }
    let base: JSONObject = ["name": .string(plugin.fileName), "path": .string(plugin.path)]
    let arguments = HostArguments(input: { [:] }, output: base)
    _ = plugin.call("plugin.query", arguments)
    return .object(arguments.output)
  }

  // MARK: Callbacks

  /// Asks every plugin; the first that objects rejects the job.
  func check(_ topic: String, _ job: Job, extra: JSONObject = [:]) throws(ServiceError) {
    for plugin in plugins {
      guard let answer = plugin.call(topic, job, self, extra: extra) else { continue }
      try Self.accept(answer, or: "rejected by job-manager plugin")
    }
  }

  /// Gives a dependency to the plugin of its scheme.
  func dependency(_ dependency: Dependency, of job: Job) throws(ServiceError) {
    for plugin in plugins {
      let topic = "job.dependency.\(dependency.scheme)"
      guard let answer = plugin.call(topic, job, self, extra: ["dependency": dependency.json]) else { continue }
      return try Self.accept(answer, or: "dependency \(dependency.scheme) was rejected")
    }
    throw ServiceError(.invalid, "dependency scheme \"\(dependency.scheme)\" not supported")
  }

  /// What those who allow the update of a key say of it.
  struct UpdateVerdict {
    /// Whether the updated jobspec need not be validated for this key.
    var isValidated = false
    /// Whether the instance has to be able to run the updated job.
    var needsFeasibility = false
    /// What has to be updated with it.
    var further: JSONObject = [:]

    func merged(_ other: UpdateVerdict?) -> UpdateVerdict {
      guard let other else { return self }
      var merged = self
      merged.isValidated = isValidated || other.isValidated
      merged.needsFeasibility = needsFeasibility || other.needsFeasibility
      for (path, value) in other.further { merged.further[path] = value }
      return merged
    }
  }

  /// Asks every plugin that knows the key; nil when none does.
  func verdict(
    on path: String, _ value: JSON, _ job: Job, _ request: Request
  ) throws(ServiceError) -> UpdateVerdict? {
    var verdict: UpdateVerdict?
    let extra: JSONObject = [
      "cred": ["userid": .int(Int64(request.userID)), "rolemask": .int(Int64(request.message.roleMask))],
      "key": .string(path), "value": value,
    ]
    for plugin in plugins {
      guard let answer = plugin.call("job.update.\(path)", job, self, extra: extra) else { continue }
      try Self.accept(answer, or: "update rejected by job-manager plugin")
      let output = answer.arguments.output
      let theirs = UpdateVerdict(
        isValidated: output["validated"]?.intValue ?? 0 != 0,
        needsFeasibility: output["feasibility"]?.intValue ?? 0 != 0, further: output["updates"]?.objectValue ?? [:])
      verdict = verdict?.merged(theirs) ?? theirs
    }
    return verdict
  }

  private static func accept(
    _ answer: (result: CInt, arguments: HostArguments), or words: String
  ) throws(ServiceError) {
    guard answer.result < 0 else { return }
    throw ServiceError(.invalid, answer.arguments.output["errmsg"]?.stringValue ?? words)
  }

  func notify(_ topic: String, _ job: Job) { for plugin in plugins { _ = plugin.call(topic, job, self) } }

  func event(_ job: Job, _ entry: EventlogEntry) {
    guard !job.subscribers.isEmpty else { return }
    for plugin in plugins where job.subscribers.contains(ObjectIdentifier(plugin)) {
      _ = plugin.call("job.event.\(entry.name)", job, self, extra: ["entry": entry.json])
    }
  }

  func state(_ job: Job, from before: JobState, _ entry: EventlogEntry) {
    for plugin in plugins {
      let extra: JSONObject = ["entry": entry.json, "prev_state": .int(Int64(before.rawValue))]
      let answer = plugin.call("job.state.\(job.state.name.lowercased())", job, self, extra: extra)
      if job.state == .sched, let given = answer?.arguments.output["R"], let found = try? ResourceSet(given) {
        job.resources = found
      }
      if let notes = answer?.arguments.output["annotations"]?["user"]?.objectValue { manager?.note(job, memo: notes) }
    }
  }

  // MARK: What plugins keep for jobs

  func freeData(of job: Job) {
    let data = job.pluginData
    job.pluginData.removeAll()
    for datum in data { datum.free() }
  }

  private func free(_ job: Job, owner: HostPlugin) {
    let id = ObjectIdentifier(owner)
    let data = job.pluginData.filter { $0.owner == id }
    job.pluginData.removeAll { $0.owner == id }
    job.subscribers.remove(id)
    for datum in data { datum.free() }
  }

  // MARK: Services of plugins: `job-manager.PLUGIN.METHOD`

  /// - Returns: false when no plugin has that method.
  func handle(_ request: Request) -> Bool {
    let parts = request.method.split(separator: ".", maxSplits: 1)
    guard parts.count == 2, let plugin = plugins.first(where: { $0.name == parts[0] }) else { return false }
    return plugin.serve(String(parts[1]), request.message)
  }

  /// Tells the plugins that somebody who may have used them has gone, with the message that Flux's broker would send.
  func disconnect(_ departure: Departure) {
    for plugin in plugins {
      switch departure {
      case .client(let id): plugin.serveDisconnect(routes: [id], isWholeClient: true)
      case .sender(let routes): plugin.serveDisconnect(routes: routes, isWholeClient: false)
      }
    }
  }
}
