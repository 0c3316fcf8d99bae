// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import NIOCore

/// The parts of an instance and how they hang together. Lives on the instance's event loop.
final class InstanceCore {
  let broker: Broker
  let log: LogService
  let manager: JobManager
  private let executor: JobExecutor
  private let exec: ExecService
  private let store: StateStore?
  let life: StateMachineService
  private let jobs: JobManagerService
  private let heartbeat: Heartbeat
  private var unanswered = UnansweredTopics()
  private var services: [any Service] = []
  private var connections: [String: any Channel] = [:]

  init(
    _ configuration: EmbeddedInstance.Configuration, uri: FluxURI, runDirectory: String,
    stateDirectory: StateDirectory?,
    _ surroundings: any Surroundings, _ broker: Broker
  ) throws {
    self.broker = broker
    log = LogService(broker)
    let setsHostname = surroundings.setsHostnames
    let resources = Self.resources(configuration, ownHost: setsHostname ? nil : Self.hostname())
    manager = JobManager(broker, log, VirtualCluster(resources), surroundings)
    executor = JobExecutor(
      broker, manager, surroundings, uri: uri.description, directory: runDirectory, setsHostname: setsHostname)
    exec = ExecService(broker, log, surroundings, uri: uri.description)
    store = try stateDirectory.map { [broker, log] in try StateStore($0, broker, log) }
    life = StateMachineService(broker, log)
    heartbeat = Heartbeat(broker)
    jobs = JobManagerService(broker, manager)
    manager.executor = executor
    var values = Self.attributes(configuration, uri, runDirectory, resources, started: broker.now())
    values["statedir"] = stateDirectory?.path
    // Jobs of an instance that keeps nothing are gone with it: agents go by this.
    values["statedir-cleanup"] = stateDirectory == nil ? "1" : "0"
    let attributes = AttributeService(broker, values)
    let resource = ResourceService(broker, manager)
    let config = ConfigService(broker, configuration.settings)
    do { try manager.queues.configure(configuration.settings) } catch {
      throw EmbeddedInstance.StartError("the configuration is not valid: \(error.text ?? "")")
    }
    config.check = { [manager] in manager.objection(to: $0) }
    config.changed = { [manager] in manager.configure($0) }
    manager.plugins.configuration = { [unowned config] in config.configuration }
    let parts: [(String, any Service)] = [
      ("attr", attributes), ("config", config), ("event", EventService(broker)),
      ("log", log), ("job-ingest", IngestService(broker, manager)), ("job-manager", jobs),
      ("job-info", JobInfoService(broker, manager)), ("job-list", JobListService(broker, manager)),
      ("resource", resource), ("sched", resource), ("feasibility", resource), ("rexec", exec),
      ("kvs", KVSService(broker, manager)), ("service", RegistrationService(broker)),
      ("state-machine", life), ("shutdown", life), ("groups", GroupService(broker, resources.rankSet)),
    ]
    for (name, service) in parts {
      broker.register(name, service)
      services.append(service)
    }
    broker.unanswered = { [weak self] topic in
      guard let self, let line = unanswered.line(for: topic) else { return }
      log.append(level: 4, "broker", line)
    }
    if let stateDirectory { try restart(from: stateDirectory) }
  }

  /// Everything is there but the clients: the jobs of the state directory go on.
  private func restart(from directory: StateDirectory) throws {
    guard let store else { return }
    manager.store = store
    do throws(Database.Failure) { try manager.load() } catch {
      throw StateStore.startError(directory.databasePath, error)
    }
    broker.store = store
    store.refused = { [unowned manager] id, words in
      guard let job = manager.jobs[id], job.isActive else { return }
      manager.raise(job, type: "state", severity: 0, note: words, userID: job.userID)
    }
    store.writer.start()
    manager.resume()
  }

  private static func hostname() -> String {
    var name = [CChar](repeating: 0, count: 256)
    gethostname(&name, name.count - 1)
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// Nodes are `NAME0`, `NAME1`, ... where tasks can be given these names; else all bear the machine's, as in `flux start -s2`.
  private static func resources(_ configuration: EmbeddedInstance.Configuration, ownHost: String?) -> ResourceSet {
    let cores = IDSet(0..<configuration.coresPerNode)
    let gpus = configuration.gpusPerNode > 0 ? IDSet(0..<configuration.gpusPerNode) : IDSet()
    let ranks = (0..<configuration.nodes).map { rank in
      ResourceSet.Rank(rank: rank, host: ownHost ?? "\(configuration.name)\(rank)", cores: cores, gpus: gpus)
    }
    return ResourceSet(ranks: ranks, startTime: 0, expiration: 0, properties: configuration.properties)
  }

  private static func attributes(
    _ configuration: EmbeddedInstance.Configuration, _ uri: FluxURI, _ runDirectory: String, _ resources: ResourceSet,
    started: Double
  ) -> [String: String] {
    [
      "size": String(configuration.nodes), "rank": "0", "version": EmbeddedInstance.version,
      "security.owner": String(getuid()), "local-uri": uri.description, "hostlist": resources.hostlist.description,
      "instance-level": "0", "jobid-path": "/", "broker.starttime": String(started), "broker.pid": String(getpid()),
      // How references in its KVS would be made, if it had one.
      "content.hash": "sha1",
      "rundir": runDirectory, "hostname": resources.ranks.first?.host ?? hostname(),
      "flux-delegate.name": configuration.name,
    ]
  }

  // MARK: Life

  func added(_ channel: any Channel, as client: String) { connections[client] = channel }

  func removed(_ client: String) {
    connections[client] = nil
    broker.removeClient(client)
  }

  /// The end begins: no more jobs start, those with processes here are ended, and whoever follows the instance's state is told first.
  ///
  /// - Returns: whether agents are to have time to do something about jobs before these end as well.
  func announceEnd() -> Bool {
    life.enter(.cleanup)
    manager.beginStop()
    return life.hasMonitors && manager.hasOthersToStop
  }

  func stop() { manager.stop() }

  /// Whether plugins have nothing more to do for the jobs that were ended.
  var isQuiet: Bool { manager.isQuiet }

  func stopProcesses() {
    life.enter(.shutdown)
    manager.plugins.unloadAll()
    exec.stop()
  }

  var isIdle: Bool { executor.isIdle && exec.isIdle && store?.isIdle ?? true }

  /// What still writes to the state directory.
  var writer: StateWriter? { store?.writer }

  /// Whether somebody follows all jobs, and may have something to ask when they have ended.
  var isFollowed: Bool { jobs.isFollowed }

  /// How many messages have come from clients until now; nil while something is on its way to one of them.
  var received: UInt64? { broker.outflow.isIdle ? broker.received : nil }

  func sayGoodbye() {
    life.enter(.finalize)
    life.enter(.goodbye)
  }

  /// Whether the client that has asked for the end knows of it, and has gone: cut off too soon it would take that for a mistake.
  var isGoodbyeHeard: Bool { life.farewell.map { connections[$0] == nil } ?? true }

  func close() {
    heartbeat.stop()
    for channel in connections.values { channel.close(promise: nil) }
    connections.removeAll()
    store?.close()
  }
}
