// SPDX-License-Identifier: LGPL-3.0-only

public import FluxConnection
public import FluxJob
public import Logging
import FluxWire
import Glibc
import NIOCore
import NIOPosix

/// A Flux-compatible instance inside this process: virtual nodes of this machine, and jobs that really run.
///
/// ```swift
/// try await EmbeddedInstance.withInstance(.init(name: "b", nodes: 2, coresPerNode: 4), logger: logger) { instance in
///   try await FluxConnection.withConnection(to: instance.uri, logger: logger) { connection in
///     print(try await connection.rpc("resource.sched-status", node: 0))
///   }
/// }
/// ```
public final class EmbeddedInstance: Sendable {
  /// What an instance has.
  public struct Configuration: Sendable {
    /// Its name: the first part of its nodes' host names, when these can be set. Letters, digits and `-`.
    public var name: String
    /// How many virtual nodes. 1 to 65536.
    public var nodes: Int
    /// How many cores a node has. 1 to 4096. They are counted, not bound: a machine of 2 cores can play a cluster of 1000.
    public var coresPerNode: Int
    /// How many GPUs a node has. 0 to 64.
    public var gpusPerNode: Int
    /// Properties of nodes (RFC 20): a name and the ranks that have it.
    public var properties: [String: IDSet]
    /// Where its socket is made; nil is a new directory under `TMPDIR` or `/tmp`, which is removed at the end.
    public var socketPath: String?
    /// Its configuration object, as `config.get` shows it.
    public var settings: JSON
    /// The directory in which its jobs are kept; nil keeps them in memory only.
    public var stateDirectory: String?
    /// How long the instance goes on at its end for those that follow its jobs: until nothing was asked for so long, and so long at most.
    var calm = (silence: Duration.milliseconds(200), patience: Duration.seconds(5))

    /// A configuration; cores default to the machine's.
    public init(
      name: String = "node", nodes: Int = 1, coresPerNode: Int? = nil, gpusPerNode: Int = 0,
      properties: [String: IDSet] = [:], socketPath: String? = nil, settings: JSON = [:],
      stateDirectory: String? = nil
    ) {
      self.name = name
      self.nodes = nodes
      self.coresPerNode = coresPerNode ?? max(1, Int(sysconf(CInt(_SC_NPROCESSORS_ONLN))))
      self.gpusPerNode = gpusPerNode
      self.properties = properties
      self.socketPath = socketPath
      self.settings = settings
      self.stateDirectory = stateDirectory
    }
  }

  /// Why an instance could not be started.
  public struct StartError: Error, CustomStringConvertible, Sendable {
    /// The stable name of this error.
    public static let code = "instance-start"
    /// What was wrong and what to do.
    public let description: String

    init(_ description: String) { self.description = description }
  }

  /// The version that the instance reports: that of the Flux whose protocol it speaks. `flux proxy` insists on its own.
  public static let version = "0.88.0"

  /// Its socket.
  public let uri: FluxURI
  let core: NIOLoopBound<InstanceCore>
  let loop: any EventLoop
  private let calm: (silence: Duration, patience: Duration)

  private init(uri: FluxURI, core: NIOLoopBound<InstanceCore>, loop: any EventLoop, _ configuration: Configuration) {
    self.uri = uri
    self.core = core
    self.loop = loop
    calm = configuration.calm
  }

  /// Starts an instance, runs `body`, and stops the instance with everything that runs in it.
  ///
  /// - Throws: ``StartError``, or what `body` throws.
  public static func withInstance<Result: Sendable>(
    _ configuration: Configuration, logger: Logger, _ body: @Sendable (EmbeddedInstance) async throws -> Result
  ) async throws -> Result {
    try validate(configuration)
    signal(SIGPIPE, SIG_IGN)
    // Inherited as ignored it would hide how children end.
    signal(SIGCHLD, SIG_DFL)
    let state = try configuration.stateDirectory.map { try StateDirectory($0) }
    defer { state?.release() }
    // A limit on the size of files is an error of a write, not the end.
    if state != nil { signal(SIGXFSZ, SIG_IGN) }
    let directory = try RunDirectory(socketPath: configuration.socketPath)
    defer { directory.remove() }
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let reactor = try ProcessReactor(loop)
    let path = directory.socketPath
    let uri = FluxURI(local: path)
    let core: NIOLoopBound<InstanceCore>
    do {
      core = try await loop.submit {
        let core = try InstanceCore(
          configuration, uri: uri, runDirectory: directory.path, stateDirectory: state, reactor,
          Broker(loop: loop, logger: logger))
        return NIOLoopBound(core, eventLoop: loop)
      }.get()
    } catch {
      try? await reactor.stop()
      throw error
    }
    let instance = EmbeddedInstance(uri: uri, core: core, loop: loop, configuration)
    let server: any Channel
    do { server = try await listen(path, core, loop) } catch {
      await instance.stop()
      try? await reactor.stop()
      throw StartError("cannot listen on \(path): \(error)")
    }
    chmod(path, 0o777)
    let outcome: Swift.Result<Result, any Error>
    do { outcome = .success(try await body(instance)) } catch { outcome = .failure(error) }
    await instance.stop()
    try? await server.close()
    try? await reactor.stop()
    return try outcome.get()
  }

  private static func listen(
    _ path: String, _ core: NIOLoopBound<InstanceCore>, _ loop: any EventLoop
  ) async throws -> any Channel {
    try await ServerBootstrap(group: loop)
      .serverChannelOption(.backlog, value: 512)
      .childChannelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try ServerHandler.install(on: channel, core) }
      }
      .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: false).get()
  }

  private static func validate(_ configuration: Configuration) throws {
    let name = configuration.name
    let isNameGood =
      !name.isEmpty && name.utf8.count <= 48 && name.first != "-"
      && name.utf8.allSatisfy {
        ("a"..."z").contains(Character(UnicodeScalar($0))) || ("A"..."Z").contains(Character(UnicodeScalar($0)))
          || ("0"..."9").contains(Character(UnicodeScalar($0))) || $0 == UInt8(ascii: "-")
      }
    guard isNameGood else { throw StartError("the name '\(name)' is not 1 to 48 letters, digits and '-'") }
    guard (1...65536).contains(configuration.nodes) else { throw StartError("the number of nodes is 1 to 65536") }
    guard (1...4096).contains(configuration.coresPerNode) else { throw StartError("the cores of a node are 1 to 4096") }
    guard (0...64).contains(configuration.gpusPerNode) else { throw StartError("the GPUs of a node are 0 to 64") }
  }

  /// The in-process twin of a client's socket: a connection to this instance without a path.
  public func connect(logger: Logger) async throws -> FluxConnection {
    var pair: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw StartError("cannot make a socket pair: \(lastError())")
    }
    let core = core
    let near = pair[0]
    _ = try await ClientBootstrap(group: loop)
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture { try ServerHandler.install(on: channel, core) }
      }
      .withConnectedSocket(near).get()
    return try await FluxConnection.connect(socket: pair[1], peer: uri.description, logger: logger)
  }

  /// How long agents that hear of the end have, before the jobs are ended that they look after.
  private static let notice = Duration.milliseconds(500)

  /// Returns when somebody asks for the instance's end: `flux shutdown`. That is refused while nobody waits here. One at a time may.
  public func waitForShutdown() async {
    let core = core
    let (requests, sink) = AsyncStream<Void>.makeStream()
    try? await loop.submit { core.value.life.end = { sink.yield() } }.get()
    for await _ in requests { break }
    try? await loop.submit { core.value.life.end = nil }.get()
  }

  /// Ends every job, and then every process; returns when they are gone, or after 10 s each.
  private func stop() async {
    let core = core
    let isFollowed = try? await loop.submit { core.value.announceEnd() }.get()
    if isFollowed ?? false { try? await Task.sleep(for: Self.notice) }
    try? await loop.submit { core.value.stop() }.get()
    // A plugin may have something to do for a job that was ended: one that is delegated is cancelled where it is.
    await wait { core.value.isQuiet }
    try? await loop.submit { core.value.stopProcesses() }.get()
    await wait { core.value.isIdle }
    await letFollowersRead()
    try? await loop.submit { core.value.sayGoodbye() }.get()
    await wait(100) { core.value.isGoodbyeHeard }
    try? await loop.submit { core.value.close() }.get()
    try? await loop.submit { core.value.writer }.get()?.stop()
  }

  /// Who follows all jobs, as an agent that has sent some here does, has heard of their end now, and then asks for what they have written. That is
  /// answered first, for as long as somebody follows and goes on to ask.
  private func letFollowersRead() async {
    let core = core
    let end = ContinuousClock.now + calm.patience
    var last: (received: UInt64?, at: ContinuousClock.Instant) = (nil, .now)
    while ContinuousClock.now < end {
      let seen = try? await loop.submit { (core.value.isFollowed, core.value.received) }.get()
      guard let (isFollowed, received) = seen, isFollowed else { return }
      if received == nil || received != last.received { last = (received, .now) }
      if ContinuousClock.now - last.at >= calm.silence { return }
      try? await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Waits for something, at most so many times 10 ms.
  private func wait(_ times: Int = 1000, until isDone: @escaping @Sendable () -> Bool) async {
    for _ in 0..<times {
      if (try? await loop.submit(isDone).get()) ?? true { return }
      try? await Task.sleep(for: .milliseconds(10))
    }
  }
}
