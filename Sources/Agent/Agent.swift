// SPDX-License-Identifier: LGPL-3.0-only

public import Delegation
public import FluxConnection
public import FluxJob
public import Logging
import FluxWire
import Targets

/// The process that does the work: it carries out what the jobs' state machines say.
///
/// It attaches to the plugin through the origin instance, is told of delegated jobs, and ends when the plugin ends the stream or
/// the origin goes away. It keeps nothing on disk: a new agent finds everything in the jobs' eventlogs and on the targets.
public struct Agent: Sendable {
  /// How an agent works.
  public struct Configuration: Sendable {
    /// The origin instance.
    public var origin: FluxURI
    /// How connections to targets are made.
    public var connection: FluxConnection.Configuration
    /// The limits of each job's machine.
    public var limits: DelegatedJob.Limits
    /// How long a new target may take to answer its first question. Default 10 s.
    public var probeTimeout: Duration

    /// The defaults, for an origin: nobody can be asked for passwords.
    public init(origin: FluxURI) {
      self.origin = origin
      connection = FluxConnection.Configuration()
      connection.isInteractive = false
      limits = DelegatedJob.Limits()
      probeTimeout = .seconds(10)
    }
  }

  /// What reaches the jobs' machines.
  enum Input: Sendable {
    case job(JobID, DelegatedJob.Event)
    /// A target has had this job for a while, and nobody has followed it.
    case stray(TargetJournal.Stray, at: FluxURI)
    /// This has happened to a job at its target, which waits meanwhile if it tells too much.
    case told(JobID, [RemoteEvent], Backlog)
    /// A target is connected.
    case reachable(FluxURI)
    /// All jobs that were there when the agent attached have been named.
    case allNamed
    /// The origin is being shut down, and will not be started again with its state.
    case originEnds
    /// Somebody wants to know how all jobs stand.
    case list(AsyncStream<[DelegatedJob.Summary]>.Continuation)
  }

  private let configuration: Configuration
  private let logger: Logger

  /// An agent; ``run()`` starts it.
  public init(_ configuration: Configuration, logger: Logger) {
    self.configuration = configuration
    self.logger = logger
  }

  /// Serves the origin until the plugin is removed or the origin has gone.
  ///
  /// - Throws: ``FluxConnection/ConnectionError`` or ``FluxWire/RPCError`` when it cannot attach.
  public func run() async throws {
    let configuration = configuration
    let logger = logger
    try await FluxConnection.withConnection(to: configuration.origin, logger: logger) { origin in
      let log = OriginLog(origin, fallback: logger)
      let name = try await Self.name(of: origin)
      let start = try? await origin.rpc("attr.get", ["name": "broker.starttime"])["value"]?.stringValue
      let started = start.flatMap { Double($0) } ?? 0
      let (inputs, sink) = AsyncStream<Input>.makeStream()
      let governor = TargetGovernor(sink: sink)
      let pool = TargetPool(
        configuration: configuration.connection, origin: name, probeTimeout: configuration.probeTimeout, log: log,
        governor: governor, sink: sink)
      let settings = Settings(governor)
      let sights = Sights()
      let writer = KVSWriter(origin)
      let drains = DrainRecord(origin, writer, governor, log)
      let emptyDirectory = try await Self.emptyDirectory(of: origin)
      let worker = Worker(
        origin: origin, settings: settings, pool: pool, governor: governor, log: log, writer: writer,
        emptyDirectory: emptyDirectory, sights: sights, sink: sink)
      let requests = try await Self.becomeTheOnlyOne(origin)
      try await drains.load()
      let service = AgentService(
        origin: origin, settings: settings, pool: pool, governor: governor, drains: drains, log: log, sink: sink)
      // Before the plugin names a job: no signal is missed.
      let kills = try await origin.events(prefix: "shell-")
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { await log.run() }
        group.addTask { await pool.run() }
        group.addTask { await writer.run() }
        group.addTask { await governor.run() }
        group.addTask { await service.run(requests) }
        group.addTask {
          let machines = Machines(
            name: name, started: started, limits: configuration.limits, log: log, governor: governor,
            sights: sights)
          await Self.drive(inputs, worker, machines)
        }
        group.addTask {
          await Self.pass(kills, sink)
          try await Task.sleep(for: .seconds(1 << 31))
        }
        group.addTask {
          await Self.watchForEnd(of: origin, sink)
          try await Task.sleep(for: .seconds(1 << 31))
        }
        // The stream's end is the agent's.
        let (beginning, ready) = AsyncStream<Never>.makeStream()
        group.addTask {
          for await _ in beginning {}
          try await Self.visit(settings, pool)
        }
        group.addTask { try await Self.attach(origin, settings, ready, sink, log) }
        defer { group.cancelAll() }
        for try await _ in group { break }
      }
    }
  }

  /// Where the origin is, for marks: unique among instances that exist at the same time.
  private static func name(of origin: FluxConnection) async throws -> String {
    let uri = try await origin.rpc("attr.get", ["name": "local-uri"])["value"]?.stringValue ?? origin.peer
    let host = try? await origin.rpc("attr.get", ["name": "hostname"])["value"]?.stringValue
    return "\(host ?? "localhost"):\(uri)".cut(to: Mark.maximumOriginLength)
  }

  /// The references of an empty directory (RFC 10, RFC 11), by the hash that an instance's content store uses.
  private static let emptyDirectories = [
    "sha1": "sha1-c0a9faf907dda6216fd73bf81d0b3b21a1a8cb91",
    "sha256": "sha256-61b85efa2a76db9377692c700b4e1edfc480bf224e0e9764b76f8082159d0ca0",
  ]

  private static func emptyDirectory(of origin: FluxConnection) async throws -> String {
    let hash = try await origin.rpc("attr.get", ["name": "content.hash"])["value"]?.stringValue ?? ""
    guard let reference = emptyDirectories[hash] else {
      throw ConnectionError(.notFlux, "\(origin.peer): content.hash is '\(hash)', which this version does not know")
    }
    return reference
  }

  // MARK: One agent at a time

  /// How long an agent waits for the one before to be gone, and how often it looks.
  private static let succession = (limit: Duration.seconds(60), pause: Duration.milliseconds(20))

  /// Waits until no other agent is there: the broker takes a service's name away when its client's connection has ended, after all that it has
  /// sent. What an agent writes cannot arrive when its successor has begun.
  private static func becomeTheOnlyOne(_ origin: FluxConnection) async throws -> AsyncStream<Message> {
    let end = ContinuousClock.now + succession.limit
    while true {
      do {
        return try await origin.serve(AgentService.name)
      } catch let error as RPCError where error.errnum == Errnum.exists.rawValue && ContinuousClock.now < end {
        try await Task.sleep(for: succession.pause)
      }
    }
  }

  /// How often it is looked whether a target has to be visited; how often that is tried, its back-off says.
  private static let visitPeriod = Duration.seconds(5)

  /// Connects to every target that is configured, for as long as it takes to see what earlier agents have left there.
  private static func visit(_ settings: Settings, _ pool: TargetPool) async throws {
    while true {
      await pool.visit(settings.targets.targets.map(\.uri))
      try await Task.sleep(for: visitPeriod)
    }
  }

  // MARK: The plugin's stream

  private static func attach(
    _ origin: FluxConnection, _ settings: Settings, _ ready: AsyncStream<Never>.Continuation,
    _ sink: AsyncStream<Input>.Continuation, _ log: OriginLog
  ) async throws {
    var isReady = false
    for try await message in await origin.stream("job-manager.delegate.attach", [:]) {
      guard let told = try? message.json(), let type = told["type"]?.stringValue else { continue }
      if type == "ready" {
        isReady = true
        sink.yield(.allNamed)
        ready.finish()
        log.debug("attached")
        continue
      }
      if type == "config" {
        await settings.update(told["delegate"])
        continue
      }
      guard let id = JobID(told["id"]) else { continue }
      switch type {
      case "job": sink.yield(.job(id, .discovered(isNew: isReady, Submission(told))))
      case "gone": sink.yield(.job(id, .gone))
      case "event":
        if let json = told["entry"], let entry = try? EventlogEntry(json) { sink.yield(.job(id, .origin(entry))) }
      default: log.warning("the plugin says '\(type)', which this agent does not know: are they of the same version?")
      }
    }
  }

  /// Passes on the signals that owners send to their jobs: the job manager publishes `shell-ID.kill`, which shells listen to.
  private static func pass(_ kills: AsyncStream<Message>, _ sink: AsyncStream<Input>.Continuation) async {
    for await event in kills {
      let words = (event.topic ?? "").split(separator: ".")
      guard words.count == 2, words[1] == "kill", let id = try? JobID(parsing: String(words[0].dropFirst(6))),
        let number = (try? event.json())??["signum"]?.intValue
      else { continue }
      sink.yield(.job(id, .signal(Int(number))))
    }
  }

  // MARK: The origin's end

  /// STATE_CLEANUP (flux-core `src/broker/state_machine.h`): the initial program is over, and jobs are cancelled.
  private static let cleanup: Int64 = 6

  /// Tells when the origin is being shut down for good: its jobs will be forgotten with its state directory. One that is started again has its
  /// jobs again, and waits for nothing but that; one without `state-machine` ends its jobs itself.
  private static func watchForEnd(of origin: FluxConnection, _ sink: AsyncStream<Input>.Continuation) async {
    do {
      let kept = try await origin.rpc("attr.get", ["name": "statedir-cleanup"])["value"]?.stringValue
      guard kept == "1" else { return }
      for try await message in await origin.stream("state-machine.monitor", ["final": .int(cleanup)]) {
        guard let state = try message.json()?["state"]?.intValue, state >= cleanup else { continue }
        sink.yield(.originEnds)
      }
    } catch { return }
  }

  // MARK: The machines

  /// Feeds inputs to the machines, one at a time, and has their actions carried out side by side.
  private static func drive(_ inputs: AsyncStream<Input>, _ worker: Worker, _ machines: Machines) async {
    var machines = machines
    await withDiscardingTaskGroup { group in
      for await input in inputs {
        for work in machines.take(input) {
          switch work {
          case .perform(let action, let id): group.addTask { await worker.perform(action, for: id) }
          case .judge(let found, let uri): group.addTask { await worker.judge(found, at: uri) }
          }
        }
      }
      group.cancelAll()
    }
  }
}
