// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import FluxJob
import FluxWire
import Glibc
import NIOCore

/// The pseudo-terminal of a task, and the clients that are attached to it: a session of Flux's terminal server, with its protocol. Lives on the
/// instance's event loop.
///
/// It is read as fast as what is read can be kept, and not at all while only a client could read it and none is there.
final class Terminal {
  /// The most clients of a terminal. Flux has no such limit.
  static let maximumClients = 64
  /// The most input that waits for a task that does not read, in bytes. Flux's shell stands still then.
  static let maximumInput = 1 << 20
  /// How long others may keep it open after its task has ended, in seconds without a word of theirs.
  private static let lingerTime = 1.0

  private struct Client {
    var request: Request
    var reads: Bool
    var writes: Bool
  }

  private enum Reading {
    case notYet
    case underWay
    /// Something was read, and nothing more is wanted for now.
    case paused
    case over
  }

  private let leader: CInt
  /// The task's side, until it has it.
  let follower: CInt
  private unowned let broker: Broker
  private let surroundings: any Surroundings
  /// Where what is read goes beside the clients, and what is to be done when there is room for more.
  private let capture: (([UInt8], @escaping () -> Void) -> Void)?
  /// Called when all was read; and when the session is over.
  private let changed: () -> Void
  private let openedAt: Double
  private lazy var writer = DescriptorWriter(leader, broker) {}
  private var clients: [Client] = []
  private var reading = Reading.notYet
  private var readCount = 0
  private var isLingering = false
  private var awaitsClient: Bool
  private var isReleased = false
  private var status: Int32?

  /// Opens a terminal of 25 lines of 80 columns.
  init(
    _ broker: Broker, _ surroundings: any Surroundings, awaitsClient: Bool,
    capture: (([UInt8], @escaping () -> Void) -> Void)?, changed: @escaping () -> Void
  ) throws(Spawn.Failure) {
    var follower: CInt = -1
    leader = cspawn_open_terminal(&follower)
    guard leader >= 0 else { throw Spawn.Failure(errnum: errno) }
    self.follower = follower
    self.broker = broker
    self.surroundings = surroundings
    self.awaitsClient = awaitsClient
    self.capture = capture
    self.changed = changed
    openedAt = broker.now()
  }

  /// Whether all that was written on it was read.
  var isDrained: Bool { reading == .over }
  /// Whether its task has ended, all was read, and nobody is waited for.
  var isOver: Bool { status != nil && isDrained && !awaitsClient }

  // MARK: The task

  /// The task has its side.
  func start() { resume() }

  /// The task has ended.
  func exited(_ status: Int32) {
    self.status = status
    linger()
    checkEnd()
  }

  /// Nobody is waited for any more: the job is being ended.
  func release() {
    awaitsClient = false
    isReleased = true
    resume()
    linger()
    checkEnd()
  }

  /// Gives the terminal up, with what is on it.
  func close() {
    guard reading != .over else { return }
    writer.stop()
    if reading == .notYet { Glibc.close(leader) } else { surroundings.drop(pipe: leader) }
    end()
  }

  private func end() {
    reading = .over
    writer.stop()
    checkEnd()
  }

  private func checkEnd() {
    if isOver {
      for client in clients { leave(client, "session exiting", Int64(status ?? 0)) }
      clients = []
    }
    changed()
  }

  private func leave(_ client: Client, _ words: String, _ status: Int64) {
    broker.respond(client.request, ["type": "exit", "message": .string(words), "status": .int(status)])
    broker.respond(client.request, errnum: .noData)
  }

  // MARK: Reading

  private var isWanted: Bool {
    !awaitsClient && (capture != nil || isReleased || clients.contains { $0.reads })
  }

  private func resume() {
    guard isWanted else { return }
    switch reading {
    case .underWay, .over: break
    case .notYet:
      reading = .underWay
      let box = NIOLoopBound(self, eventLoop: broker.loop)
      surroundings.watch(pipe: leader) { event in box.value.receive(event) }
    case .paused:
      reading = .underWay
      surroundings.resume(pipe: leader)
    }
    linger()
  }

  private func receive(_ event: ProcessReactor.Event) {
    guard reading != .over else { return }
    guard case .read(let bytes) = event else { return end() }
    readCount += 1
    broker.respond(toAll: clients.filter(\.reads).map(\.request)) { Message.payload(of: Self.data(bytes)) }
    reading = .paused
    guard let capture else { return resume() }
    capture(bytes) { [weak self] in self?.resume() }
  }

  private static func data(_ bytes: [UInt8]) -> JSON {
    guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
      return ["type": "data", "encoding": "base64", "data": .string(Base64.encode(bytes))]
    }
    return ["type": "data", "data": .string(text)]
  }

  /// What the task has left behind may keep its terminal open: it has a moment to say something.
  private func linger() {
    guard status != nil, !isLingering, isWanted, reading == .underWay || reading == .paused else { return }
    isLingering = true
    let count = readCount
    _ = broker.after(Self.lingerTime) { [weak self] in
      guard let self, reading != .over else { return }
      isLingering = false
      if readCount == count, isWanted { close() } else { linger() }
    }
  }

  // MARK: Clients

  func handle(_ request: Request) throws(ServiceError) {
    guard let type = request.payload["type"]?.stringValue else { throw ServiceError(.protocolError) }
    let position = clients.firstIndex { $0.request.sender == request.sender }
    if type == "attach" {
      guard position == nil else { throw ServiceError(.exists) }
      return try attach(request)
    }
    guard let position else { throw ServiceError(.noEntry) }
    switch type {
    case "resize": try resize(request)
    case "data": if clients[position].writes { try write(request) }
    case "detach": leave(clients.remove(at: position), "Client requested detach", 0)
    default: throw ServiceError(.notImplemented)
    }
    broker.respond(request)
  }

  private func attach(_ request: Request) throws(ServiceError) {
    let mode = request.payload["mode"]?.stringValue ?? ""
    guard ["rw", "ro", "wo"].contains(mode) else { throw ServiceError(.protocolError) }
    guard clients.count < Self.maximumClients else {
      throw ServiceError(.busy, "a terminal may have \(Self.maximumClients) clients")
    }
    let client = Client(request: request.withoutPayload, reads: mode != "wo", writes: mode != "ro")
    if client.reads, client.writes { try resize(request) }
    broker.respond(request, ["type": "attach"])
    clients.append(client)
    if client.reads { awaitsClient = false }
    resume()
    checkEnd()
  }

  private func resize(_ request: Request) throws(ServiceError) {
    let size = request.payload["winsize"]
    guard let rows = size?["rows"]?.intValue, let columns = size?["cols"]?.intValue else {
      throw ServiceError(.protocolError)
    }
    guard let rows = UInt16(exactly: rows), let columns = UInt16(exactly: columns), rows > 0, columns > 0 else {
      throw ServiceError(.invalid)
    }
    if reading != .over { cspawn_resize_terminal(leader, rows, columns) }
  }

  private func write(_ request: Request) throws(ServiceError) {
    guard let text = request.payload["data"]?.stringValue else { throw ServiceError(.protocolError) }
    var bytes = Array(text.utf8)
    if let encoding = request.payload["encoding"] {
      guard encoding == "base64", let decoded = try? Base64.decode(text) else { throw ServiceError(.protocolError) }
      bytes = decoded
    }
    guard reading != .over else { throw ServiceError(.brokenPipe) }
    guard writer.waiting + bytes.count <= Self.maximumInput else {
      throw ServiceError(.busy, "the task does not read: \(Self.maximumInput >> 20) MiB of input wait for it")
    }
    writer.write(bytes)
  }

  /// Somebody has gone.
  func drop(_ departure: Departure) { clients.removeAll { departure.concerns($0.request.sender) } }

  /// How it is listed.
  func listing(_ rank: Int) -> JSON {
    [
      "id": .int(Int64(rank)), "name": .string("task\(rank)"), "clients": .int(Int64(clients.count)), "pid": -1,
      "exited": .int(status == nil ? 0 : 1), "ctime": .double(openedAt),
    ]
  }
}
