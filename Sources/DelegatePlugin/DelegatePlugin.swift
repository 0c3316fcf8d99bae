// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import Delegation
import FluxJob

#if canImport(Glibc)
  import Glibc
#endif

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
  /// The targets that the instance's configuration names now.
  private var targets = TargetList()
  /// The same as it is written there, for the agent.
  private var configuration: JSON?
  private var jobs: [UInt64: Standing] = [:]
  /// What jobs on their way to RUN are to be given: their resources, and the name of their target for listings.
  private var resources: [UInt64: (found: JSON, target: String?)] = [:]
  /// How many jobs wait for their event `start`; every job in the instance comes by there.
  private var grants = 0
  private var patienceTimer: OpaquePointer?
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
    let callbacks: [(String, flux_plugin_f)] = [
      ("job.dependency.\(DelegationRequest.scheme)", { _, _, args, data in from(data)?.dependency(args) ?? -1 }),
      ("job.validate", { _, _, args, data in from(data)?.validate(args) ?? -1 }),
      ("job.new", { _, _, args, data in from(data)?.new(args) ?? 0 }),
      ("job.state.sched", { _, _, args, data in from(data)?.sched(args) ?? 0 }),
      ("job.state.run", { _, _, args, data in from(data)?.run(args) ?? 0 }),
      ("job.event.*", { _, topic, args, data in from(data)?.event(topic, args) ?? 0 }),
      ("conf.update", { _, _, args, data in from(data)?.configure(args) ?? 0 }),
      ("plugin.query", { _, _, args, data in from(data)?.query(args) ?? 0 }),
    ]
    let methods: [(String, flux_msg_handler_f)] = [
      ("attach", { _, _, message, data in from(data)?.attach(message) }),
      ("allocate", { _, _, message, data in from(data)?.allocate(message) }),
      ("start", { _, _, message, data in from(data)?.start(message) }),
      ("finish", { _, _, message, data in from(data)?.finish(message) }),
      ("release", { _, _, message, data in from(data)?.release(message) }),
      ("disconnect", { _, _, message, data in from(data)?.disconnect(message) }),
    ]
    for (topic, callback) in callbacks {
      guard flux_plugin_add_handler(plugin, topic, callback, me) == 0 else { return false }
    }
    for (method, callback) in methods {
      guard flux_jobtap_service_register(plugin, method, callback, me) == 0 else { return false }
    }
    supervisor.start()
    return true
  }

  /// The job manager removes the plugin: the agent is told, and stops.
  func unload() {
    isUnloading = true
    endPatience()
    link.close()
    supervisor.stop()
  }

  // MARK: Jobs

  /// A job asks for delegation: at its submission, when the plugin is loaded with jobs waiting, and when the job manager restarts.
  private func dependency(_ args: OpaquePointer?) -> CInt {
    guard isOwners(args) else { return -1 }
    if isHeld(args) {
      // The first is what counts. There may be very many, and with each the whole jobspec would be read.
      guard cjobtap_state(args) == CInt(JobState.new.rawValue) else { return 0 }
      return PluginArguments.reject(args, "delegate: a job is delegated once: leave all but one such dependency away")
    }
    guard let input = PluginArguments.input(args), let id = JobID(input["id"]), let value = input["dependency"] else {
      return PluginArguments.reject(args, "delegate: the job manager's arguments could not be read")
    }
    do { try check(try DelegationRequest(dependency: try Dependency(value)), input) } catch {
      return PluginArguments.reject(args, error is RequestError ? "\(error)" : "delegate: \(error)")
    }
    return hold(id, input, args)
  }

  /// Whether the job of a callback is known already.
  private func isHeld(_ args: OpaquePointer?) -> Bool {
    var id: UInt64 = 0
    return cjobtap_id(args, &id) && jobs[id] != nil
  }

  /// Any job is submitted. Most have no attribute `system.delegate`: they cost one look.
  private func validate(_ args: OpaquePointer?) -> CInt {
    guard cjobtap_has_delegate(args) else { return 0 }
    guard isOwners(args) else { return -1 }
    guard let input = PluginArguments.input(args), let value = input["jobspec"]?.value(at: DelegationRequest.attribute)
    else { return PluginArguments.reject(args, "delegate: the job manager's arguments could not be read") }
    do { try check(try DelegationRequest(attribute: value), input) } catch {
      return PluginArguments.reject(args, "\(error)")
    }
    // What `job.new` answers the job manager does not ask.
    return admits(JobID(input["id"]), args) ? 0 : -1
  }

  /// Whether a job is the instance owner's: the agent acts with the owner's rights, and nobody else may have it do so. Asked first, so that what
  /// others have written is not even read.
  private func isOwners(_ args: OpaquePointer?) -> Bool {
    if let args, cjobtap_is_of(args, getuid()) { return true }
    _ = PluginArguments.reject(args, "delegate: only the owner of this instance can delegate jobs from it")
    return false
  }

  /// Whether there is room for a job that may be delegated from here; the reason why not is in the callback's answer.
  private func admits(_ id: JobID?, _ args: OpaquePointer?) -> Bool {
    guard jobs.count < Self.maximumJobs || id.map({ jobs[$0.rawValue] != nil }) == true else {
      _ = PluginArguments.reject(
        args, "delegate: \(Self.maximumJobs) delegated jobs are held already; try again later")
      return false
    }
    return true
  }

  /// A new job has to name a target that there is. Jobs that are there already are not judged by today's configuration.
  private func check(_ request: DelegationRequest, _ input: JSON) throws(RequestError) {
    guard input["state"]?.intValue == Int64(JobState.new.rawValue) else { return }
    if request.targets.isEmpty {
      _ = try targets.named(request.selection)
    } else {
      _ = try targets.candidates(for: request)
    }
  }

  /// Any job is new, or the plugin is.
  private func new(_ args: OpaquePointer?) -> CInt {
    let isDelegated = cjobtap_has_delegate(args)
    // One that is beyond its dependencies when the plugin is loaded may be one that it has mirrored.
    let isBeyond = cjobtap_state(args) > CInt(JobState.depend.rawValue)
    guard isDelegated || (isBeyond && cjobtap_has_dependencies(args)) else { return 0 }
    // Nothing of another user's is held, and what this answers the job manager does not ask.
    guard let args, cjobtap_is_of(args, getuid()) else { return 0 }
    guard let input = PluginArguments.input(args), let id = JobID(input["id"]) else { return -1 }
    // Dependencies were added before this callback, and their events were not passed on.
    let dependencies = input["jobspec"]?.value(at: "attributes.system.dependencies")?.arrayValue ?? []
    guard isDelegated || dependencies.contains(where: { $0["scheme"]?.stringValue == DelegationRequest.scheme }) else {
      return 0
    }
    return hold(id, input, args, isWhole: dependencies.isEmpty)
  }

  /// Holds a job at home, for as long as it has not got beyond DEPEND, and follows it.
  ///
  /// - Parameter isWhole: whether all events of the job are still to come, so that nobody has to ask for its eventlog.
  private func hold(_ id: JobID, _ input: JSON, _ args: OpaquePointer?, isWhole: Bool = false) -> CInt {
    guard admits(id, args) else { return -1 }
    let state = input["state"]?.intValue ?? Int64(JobState.new.rawValue)
    if state <= Int64(JobState.depend.rawValue) {
      let result = flux_jobtap_dependency_add(plugin, id.rawValue, DelegationRequest.dependencyDescription)
      guard result == 0 else { return PluginArguments.reject(args, "delegate: the job manager would not hold the job") }
    }
    let submission = isWhole && state == Int64(JobState.new.rawValue) ? input : nil
    guard follow(id, submission, state: state) else {
      return PluginArguments.reject(args, "delegate: the job manager would not have it followed")
    }
    return 0
  }

  /// Follows a job until the job manager forgets it.
  private func follow(_ id: JobID, _ submission: JSON?, state: Int64) -> Bool {
    guard jobs[id.rawValue] == nil else { return true }
    jobs[id.rawValue] = state == Int64(JobState.cleanup.rawValue) ? .ended : []
    let entry = Unmanaged.passRetained(HeldJob(id, self))
    let forget: flux_free_f = { pointer in
      guard let pointer else { return }
      let entry = Unmanaged<HeldJob>.fromOpaque(pointer)
      let job = entry.takeUnretainedValue()
      job.plugin?.forget(job.id)
      entry.release()
    }
    guard flux_jobtap_job_aux_set(plugin, id.rawValue, "delegate::job", entry.toOpaque(), forget) == 0 else {
      jobs[id.rawValue] = nil
      entry.release()
      return false
    }
    guard flux_jobtap_job_subscribe(plugin, id.rawValue) == 0 else { return false }
    var told: JSONObject = ["type": "job", "id": id.json]
    for key in ["userid", "urgency", "t_submit"] { told[key] = submission?[key] }
    link.send(.object(told))
    return true
  }

  private func forget(_ id: JobID) {
    if jobs.removeValue(forKey: id.rawValue)?.contains(.granted) == true { grants -= 1 }
    resources[id.rawValue] = nil
    if !isUnloading { link.send(["type": "gone", "id": id.json]) }
  }

  /// The events that an agent has use for; it knows itself what it has written, and of our own dependency.
  private static let passedOn: Set<String> = [
    "validate", "dependency-add", "dependency-remove", "urgency", "jobspec-update", "exception", "start",
  ]

  /// An event of a held job. Its arguments hold the whole jobspec, so the topic alone decides whether they are looked at.
  private func event(_ topic: UnsafePointer<CChar>?, _ args: OpaquePointer?) -> CInt {
    guard let topic else { return 0 }
    let name = String(cString: topic).dropFirst("job.event.".utf8.count)
    if name == "exception" { keep(args) }
    guard link.isAttached else { return 0 }
    guard Self.passedOn.contains(String(name)), let input = PluginArguments.input(args), let id = JobID(input["id"]),
      let entry = input["entry"], jobs[id.rawValue] != nil,
      entry["context"]?["description"]?.stringValue != DelegationRequest.dependencyDescription
    else { return 0 }
    link.send(["type": "event", "id": id.json, "entry": entry])
    return 0
  }

  // MARK: A job is ended

  /// Somebody has ended a job whose copy may be at a target: it is kept in CLEANUP until the agent has made sure that no copy is left.
  /// What the agent itself writes has no user; what it raises says that the job runs nowhere, or is its owner's there.
  private func keep(_ args: OpaquePointer?) {
    guard let input = PluginArguments.input(args), let id = JobID(input["id"]), let standing = jobs[id.rawValue],
      let context = input["entry"]?["context"], context["severity"]?.intValue == 0
    else { return }
    jobs[id.rawValue]?.insert(.ended)
    // One that has a prolog is kept already.
    if standing.isDisjoint(with: [.epilog, .prolog, .released, .ended]), context["userid"] != nil,
      let type = context["type"]?.stringValue, !DelegationRequest.endings.contains(type),
      flux_jobtap_epilog_start(plugin, DelegationRequest.epilogDescription) == 0
    {
      jobs[id.rawValue]?.insert(.epilog)
    }
    if !link.isAttached, jobs[id.rawValue]?.isKept == true { startPatience() }
  }

  /// The agent has nothing more to do for a job that has finished or was ended.
  private func release(_ message: OpaquePointer?) {
    guard let (message, request, id, standing) = decode(message, "release") else { return }
    guard !standing.contains(.released) else {
      flux_respond_error(flux, message, EINVAL, "job \(id) was released already")
      return
    }
    // What an earlier plugin has opened, the agent knows from the eventlog.
    if request["prolog"]?.boolValue == true { jobs[id.rawValue]?.insert(.prolog) }
    if request["epilog"]?.boolValue == true { jobs[id.rawValue]?.insert(.epilog) }
    if let status = request["status"]?.intValue { _ = end(id.rawValue, CInt(truncatingIfNeeded: status)) }
    letGo(id.rawValue)
    flux_respond(flux, message, nil)
  }

  /// - Returns: whether the job has its end now.
  private func end(_ id: UInt64, _ status: CInt) -> Bool {
    if jobs[id]?.contains(.finished) == true { return true }
    guard cjobtap_post_finish(plugin, id, status) == 0 else { return false }
    jobs[id]?.insert(.finished)
    return true
  }

  private func letGo(_ id: UInt64) {
    guard let standing = jobs[id], !standing.isDisjoint(with: [.prolog, .epilog]) else { return }
    jobs[id]?.insert(.released)
    if standing.contains(.epilog) { _ = flux_jobtap_epilog_finish(plugin, id, DelegationRequest.epilogDescription, 0) }
    // In RUN the end of the prolog would have job-exec start the job.
    guard standing.contains(.prolog), !standing.isDisjoint(with: [.finished, .ended]) else { return }
    _ = cjobtap_post_release(plugin, id)
    _ = flux_jobtap_prolog_finish(plugin, id, DelegationRequest.prologDescription, 0)
  }

  /// How long jobs that were ended are kept while no agent is there, in seconds.
  private static let patience = 60.0

  private func startPatience() {
    guard patienceTimer == nil else { return }
    let me = Unmanaged.passUnretained(self).toOpaque()
    patienceTimer = flux_timer_watcher_create(
      flux_get_reactor(flux), Self.patience, 0, { _, _, _, data in from(data)?.losePatience() }, me)
    if let patienceTimer { flux_watcher_start(patienceTimer) }
  }

  private func endPatience() {
    if let patienceTimer { flux_watcher_destroy(patienceTimer) }
    patienceTimer = nil
  }

  private func losePatience() {
    endPatience()
    let kept = jobs.filter(\.value.isKept).keys.sorted()
    guard !link.isAttached, !kept.isEmpty else { return }
    PluginLog(flux).error(
      "delegate: \(kept.count) jobs that were ended may have copies at their targets, and no agent is there to look")
    for id in kept {
      if jobs[id]?.contains(.prolog) == true { _ = end(id, WaitStatus(signal: Int(SIGTERM)).rawValue) }
      letGo(id)
    }
  }

  // MARK: A remote job starts and ends

  /// A request of the agent's about one job; answered when it is not one.
  private func decode(
    _ message: OpaquePointer?, _ method: String
  ) -> (message: OpaquePointer, request: JSON, id: JobID, standing: Standing)? {
    guard let message else { return nil }
    var text: UnsafePointer<CChar>?
    guard flux_request_decode(message, nil, &text) == 0, let text,
      let request = try? JSON(parsing: String(cString: text)), let id = JobID(request["id"])
    else {
      flux_respond_error(flux, message, EPROTO, "job-manager.delegate.\(method): wants id")
      return nil
    }
    guard let standing = jobs[id.rawValue] else {
      flux_respond_error(flux, message, ENOENT, "job \(id) is not delegated")
      return nil
    }
    guard link.isAgent(message) else {
      flux_respond_error(flux, message, EPERM, "only the agent that is attached may say that")
      return nil
    }
    return (message, request, id, standing)
  }

  /// The agent has the resources of a remote job: its job is let go, past the scheduler and past job-exec, to take them.
  ///
  /// The prolog comes first, before the job can get out of DEPEND: whatever becomes of this plugin, job-exec does not run it here.
  private func allocate(_ message: OpaquePointer?) {
    guard let (message, request, id, standing) = decode(message, "allocate") else { return }
    guard let found = request["R"], found.objectValue != nil else {
      flux_respond_error(flux, message, EPROTO, "job-manager.delegate.allocate: wants R")
      return
    }
    // A prolog would hold a job in CLEANUP that nobody lets go.
    guard standing.isDisjoint(with: [.ended, .released]),
      announce(id.rawValue, request["started"]?.doubleValue),
      standing.contains(.prolog) || request["prolog"]?.boolValue == true
        || cjobtap_post_prolog(plugin, id.rawValue, DelegationRequest.prologDescription) == 0
    else {
      flux_respond_error(flux, message, EINVAL, "job \(id) takes no events")
      return
    }
    jobs[id.rawValue]?.insert(.prolog)
    resources[id.rawValue] = (found, request["target"]?.stringValue)
    guard flux_jobtap_job_set_flag(plugin, id.rawValue, "alloc-bypass") == 0, advance(id.rawValue) else {
      resources[id.rawValue] = nil
      flux_respond_error(flux, message, EINVAL, "job \(id) is not held any more")
      return
    }
    flux_respond(flux, message, nil)
  }

  /// Writes that the remote job has started.
  private func announce(_ id: UInt64, _ started: Double?) -> Bool {
    started.map { cjobtap_post_started(plugin, id, $0) == 0 } ?? true
  }

  /// Sends a job from DEPEND to SCHED, or there once more when it is there without its resources: an earlier plugin had not got further.
  private func advance(_ id: UInt64) -> Bool {
    if flux_jobtap_dependency_remove(plugin, id, DelegationRequest.dependencyDescription) == 0 { return true }
    // EINVAL: it is beyond DEPEND. In SCHED the event takes it back to PRIORITY, in PRIORITY it changes nothing.
    return (errno == EINVAL || errno == ENOENT) && cjobtap_post_restart(plugin, id) == 0
  }

  /// A job comes before the scheduler. Ours have their resources already.
  private func sched(_ args: OpaquePointer?) -> CInt {
    guard !resources.isEmpty, let input = PluginArguments.input(args), let id = JobID(input["id"]),
      let given = resources.removeValue(forKey: id.rawValue)
    else { return 0 }
    if jobs[id.rawValue]?.insert(.granted).inserted == true { grants += 1 }
    var output: JSONObject = ["R": given.found]
    if let target = given.target { output["annotations"] = ["user": ["delegate": ["target": .string(target)]]] }
    let result = PluginArguments.output(args, .object(output))
    let event: JSON = ["id": id.json, "name": "alloc", "context": ["bypass": true]]
    flux_future_destroy(
      flux_rpc(flux, "job-manager.post-event.post", event.text, UINT32_MAX, CInt(CJOBTAP_RPC_NORESPONSE)))
    return result
  }

  /// A job runs. Ours has started where it is.
  private func run(_ args: OpaquePointer?) -> CInt {
    guard grants > 0, let input = PluginArguments.input(args), let id = JobID(input["id"]),
      jobs[id.rawValue]?.remove(.granted) != nil
    else { return 0 }
    grants -= 1
    return cjobtap_post_start(plugin, id.rawValue)
  }

  /// A job that has its resources from an earlier plugin, which did not get to say that it has started.
  private func start(_ message: OpaquePointer?) {
    guard let (message, _, id, _) = decode(message, "start") else { return }
    guard cjobtap_post_start(plugin, id.rawValue) == 0 else {
      flux_respond_error(flux, message, EINVAL, "job \(id) takes no events")
      return
    }
    flux_respond(flux, message, nil)
  }

  /// The remote job has ended, with this wait status.
  private func finish(_ message: OpaquePointer?) {
    guard let (message, request, id, _) = decode(message, "finish") else { return }
    guard let status = request["status"]?.intValue else {
      flux_respond_error(flux, message, EPROTO, "job-manager.delegate.finish: wants status")
      return
    }
    guard end(id.rawValue, CInt(truncatingIfNeeded: status)) else {
      flux_respond_error(flux, message, EINVAL, "job \(id) takes no events")
      return
    }
    flux_respond(flux, message, nil)
  }

  // MARK: The configuration

  /// The instance's configuration is new: targets that mean nothing are refused.
  private func configure(_ args: OpaquePointer?) -> CInt {
    guard let configuration = PluginArguments.input(args)?["conf"] else { return 0 }
    do { targets = try TargetList(configuration: configuration) } catch {
      return PluginArguments.reject(args, "\(error)")
    }
    self.configuration = configuration["delegate"]
    tellConfiguration()
    return 0
  }

  private func tellConfiguration() {
    var told: JSONObject = ["type": "config"]
    told["delegate"] = configuration
    link.send(.object(told))
  }

  // MARK: The agent and whoever asks

  private func attach(_ message: OpaquePointer?) {
    guard let message else { return }
    guard link.attach(message) else { return }
    tellConfiguration()
    for id in jobs.keys.sorted() { link.send(["type": "job", "id": JobID(rawValue: id).json]) }
    link.send(["type": "ready"])
    endPatience()
    supervisor.agentAttached()
  }

  private func disconnect(_ message: OpaquePointer?) {
    guard let message else { return }
    link.disconnect(message)
    if !link.isAttached, jobs.values.contains(where: \.isKept) { startPatience() }
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

/// The plugin behind the pointer that its callbacks are registered with.
private func from(_ data: UnsafeMutableRawPointer?) -> DelegatePlugin? {
  data.map { Unmanaged<DelegatePlugin>.fromOpaque($0).takeUnretainedValue() }
}
