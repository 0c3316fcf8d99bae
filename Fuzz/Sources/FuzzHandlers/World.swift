// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import Logging
import NIOCore
import NIOEmbedded

@testable import EmbeddedFlux

/// One instance with its clients, in a time of its own; and what has to be true of its answers.
final class World {
  /// A request and what came of it.
  struct Asked {
    var message: Message
    var client: Int
    var answers = 0
    /// Whether nothing may follow.
    var isEnded = false
    /// Whether a client answers it, and no rule holds.
    var isForwarded = false
    /// What its last response said.
    var last: Message?

    var topic: String { message.topic ?? "" }
    var isStreaming: Bool { message.options.contains(.streaming) }
    var wantsNone: Bool { message.options.contains(.noResponse) }
  }

  /// The time at which every world begins, in seconds since the epoch.
  static let epoch = 1_700_000_000.0
  /// The most bytes that a world may send for one input, as input is at most 4 KiB: beyond it something multiplies what it is given.
  static let maximumSent = 512 << 20
  /// The longest that one request may take, in seconds of the processor. Instrumented as it is here, everything takes many times as long.
  static let longestRequest = 4.0
  /// Requests that have no response of their own, as in Flux; an error they may have.
  private static let silent: Set<String> = [
    "log.append", "log.cancel", "job-info.eventlog-watch-cancel", "job-info.update-watch-cancel",
    "job-manager.events-journal-cancel",
  ]
  /// Requests that may have to wait for their answer.
  private static let waiting: Set<String> = ["job-manager.wait", "job-manager.drain", "job-manager.idle"]
  private static let logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }

  let loop = EmbeddedEventLoop()
  let surroundings: ImaginarySurroundings
  private(set) var core: InstanceCore?
  private var clients: [String?] = []
  private(set) var asked: [Asked] = []
  /// What clients' services were asked.
  private(set) var served: [(message: Message, client: Int)] = []
  /// The jobs that were submitted.
  private(set) var jobs: [JobID] = []
  private var sent = 0
  /// Whether somebody has written events himself, so that jobs may be in any state.
  var isTampered = false
  let shows: Bool

  init(_ configuration: EmbeddedInstance.Configuration, shows: Bool) {
    self.shows = shows
    surroundings = ImaginarySurroundings(loop)
    let broker = Broker(loop: loop, logger: Self.logger, prefix: 1) { [loop] in
      Self.epoch + Double(loop.now.uptimeNanoseconds) / 1e9
    }
    do {
      // No directory can be made in that one.
      core = try InstanceCore(
        configuration, uri: FluxURI(local: "/dev/null/local-0"), runDirectory: "/dev/null/run", stateDirectory: nil,
        surroundings, broker)
    } catch { fatalError("the instance does not start: \(error)") }
    core?.life.end = {}
  }

  var broker: Broker {
    guard let core else { fatalError("the instance has gone") }
    return core.broker
  }

  var manager: JobManager {
    guard let core else { fatalError("the instance has gone") }
    return core.manager
  }

  // MARK: Clients

  func connect() -> Int {
    let number = clients.count
    clients.append(nil)
    clients[number] = broker.addClient(userID: broker.owner) { [unowned self] in receive($0, number) }
    return number
  }

  func disconnect(_ client: Int) {
    if let id = clients[client] { core?.removed(id) }
    clients[client] = nil
    settle()
  }

  func settle() { loop.run() }

  func pass(_ seconds: Double) {
    loop.advanceTime(by: .nanoseconds(Int64(seconds * 1e9)))
    settle()
  }

  // MARK: Requests

  /// Sends a request, lets all happen that follows from it, and checks that it has its answer.
  ///
  /// - Returns: its number. That is in its role mask, above the roles, which a response has as its request has.
  @discardableResult
  func ask(_ client: Int, _ message: Message) -> Int {
    guard let id = clients[client] else { return -1 }
    var message = message
    let number = asked.count
    message.roleMask = message.roleMask & 0xff | UInt32(number + 1) << 8
    if shows { show(message, client) }
    asked.append(Asked(message: message, client: client))
    let start = Self.processorTime()
    defer {
      let time = Self.processorTime() - start
      if time > Self.longestRequest { fail("a request takes \(time) s, in which nobody else is served", message) }
    }
    if message.topic?.hasPrefix("job-manager.post-event") == true { isTampered = true }
    broker.receive(message, from: id)
    settle()
    check(answerOf: number)
    return number
  }

  private static func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }

  private func show(_ message: Message, _ client: Int) {
    let payload = (try? message.json()).flatMap { $0?.text } ?? message.payload.map { "\($0.readableBytesView)" } ?? ""
    print(
      "client \(client): \(message.kind) \(message.topic ?? "(no topic)") \(payload) options \(message.options.rawValue) "
        + "tag \(message.matchTag) user \(message.userID) roles \(message.roleMask & 0xff) node \(message.detail) "
        + "routes \(message.routes ?? [])")
  }

  private func check(answerOf number: Int) {
    let request = asked[number]
    guard let topic = request.message.topic, !request.wantsNone, !request.isStreaming, !request.isForwarded,
      request.message.kind == .request, !Self.silent.contains(topic), !Self.waiting.contains(topic),
      !topic.hasSuffix(".disconnect")
    else { return }
    guard request.answers == 1 else { fail("\(topic): \(request.answers) answers instead of one", request.message) }
  }

  private func receive(_ message: Message, _ client: Int) {
    sent += message.payload?.readableBytes ?? 0
    guard sent <= Self.maximumSent else { fail("more than \(Self.maximumSent >> 20) MiB were sent", message) }
    check(encodes: message)
    if shows {
      print(
        "  to \(client): \(message.kind) \(message.topic ?? "") \(message.detail) \(message.text ?? "(no payload)")")
    }
    let number = Int(message.roleMask >> 8) - 1
    switch message.kind {
    case .response:
      guard asked.indices.contains(number) else { fail("an answer without a request", message) }
      take(message, client, number)
    case .request:
      if asked.indices.contains(number) { asked[number].isForwarded = true }
      if served.count < 16 { served.append((message, client)) }
    case .event, .control: break
    }
  }

  private func check(encodes message: Message) {
    guard message.payload?.readableBytes ?? 0 < 1 << 16 else { return }
    var bytes = ByteBuffer()
    MessageCodec.encodeBody(message, into: &bytes)
    guard let again = try? MessageCodec.decodeBody(bytes), again == message else {
      fail("a message that nobody can decode", message)
    }
  }

  private func take(_ message: Message, _ client: Int, _ number: Int) {
    let request = asked[number]
    guard !request.isForwarded else { return }
    guard request.client == client else { fail("the answer went to another client", message) }
    guard !request.wantsNone else { fail("an answer that nobody wants", message) }
    guard request.message.matchTag == message.matchTag, request.message.topic == message.topic else {
      fail("an answer with another tag or topic", message)
    }
    guard !request.isEnded else { fail("an answer after the last", message) }
    if message.detail == 0, message.payload != nil, message.topic != "log.dmesg", (try? message.json()) == nil {
      fail("an answer that is not JSON", message)
    }
    asked[number].answers += 1
    asked[number].last = message
    if message.detail != 0 || !request.isStreaming { asked[number].isEnded = true }
    if message.topic == "job-ingest.submit", message.detail == 0, let id = JobID((try? message.json())??["id"]) {
      jobs.append(id)
    }
  }

  func fail(_ words: String, _ message: Message) -> Never {
    show(message, -1)
    fatalError("\(words): \(message)")
  }

  // MARK: What a client does beside

  /// A message that is no request, from whoever is behind that client.
  func send(_ client: Int, _ message: Message) {
    guard let id = clients[client] else { return }
    if shows { show(message, client) }
    broker.receive(message, from: id)
    settle()
  }

  // MARK: The end

  /// Another client is served as if nothing had been; then all go, nothing of theirs stays, and all jobs can be ended.
  func end() {
    checkService()
    if !isTampered { checkJobs() }
    for client in clients.indices { disconnect(client) }
    guard broker.streamCount == 0 else {
      fatalError("\(broker.streamCount) streams are kept of clients that have gone")
    }
    stop()
  }

  private func checkService() {
    let client = connect()
    let requests: [(String, JSON)] = [
      ("broker.ping", ["a": 1]), ("attr.get", ["name": "rank"]), ("config.get", [:]), ("job-manager.list", [:]),
      ("job-manager.stats-get", [:]), ("job-list.job-stats", [:]), ("resource.sched-status", [:]),
      ("resource.status", [:]), ("job-list.list", ["attrs": ["all"], "max_entries": 0]),
      ("job-manager.queue-list", [:]),
      ("state-machine.get", [:]), ("attr.list", [:]),
    ]
    for (topic, payload) in requests {
      let number = ask(client, .request(topic, payload, matchTag: 1))
      guard asked[number].last?.detail == 0 else {
        fatalError("another client's \(topic) is answered with \(String(describing: asked[number].last))")
      }
    }
    let journal = ask(
      client, .request("job-manager.events-journal", ["full": true], matchTag: 2, options: .streaming))
    ask(client, .request("job-manager.events-journal-cancel", ["matchtag": 2], options: .noResponse))
    guard asked[journal].isEnded else { fatalError("the journal does not end when it is cancelled") }
    checkSubmission(client)
    disconnect(client)
  }

  private func checkSubmission(_ client: Int) {
    let jobspec = Template.jobspecs[1].text
    let signed = SignedJobspec(userID: broker.owner, jobspec: jobspec).text
    ask(client, .request("job-ingest.submit", ["J": .string(signed), "urgency": 16, "flags": 0], matchTag: 3))
  }

  /// What the instance believes of its jobs follows from their eventlogs, and nobody has what another has.
  private func checkJobs() {
    var taken = 0
    for job in manager.active.values {
      let urgency = Int(job.eventlog.first?.context?["urgency"]?.intValue ?? -1)
      let again = Job(id: job.id, userID: job.userID, urgency: urgency, flags: job.flags, body: job.body.map(Self.copy))
      for entry in job.eventlog { _ = again.apply(entry) }
      guard again.state == job.state, again.urgency == job.urgency, again.priority == job.priority,
        again.dependencies == job.dependencies
      else { fatalError("the eventlog of a job in \(job.state) says \(again.state): \(job.eventlog.map(\.line))") }
      if let resources = job.resources, !job.isReleased { taken += resources.coreCount }
    }
    let cluster = manager.cluster
    guard cluster.all.coreCount - cluster.freeCores == taken else {
      fatalError("jobs have \(taken) cores, \(cluster.freeCores) of \(cluster.all.coreCount) are free")
    }
  }

  private static func copy(_ body: JobBody) -> JobBody {
    let copy = JobBody(signed: body.signed, jobspec: body.jobspec, isCompleted: body.isCompleted)
    copy.resources = body.resources
    return copy
  }

  private func stop() {
    weak let gone = core
    weak let goneManager = core?.manager
    _ = core?.announceEnd()
    core?.stop()
    settle()
    for _ in 0..<4 {
      surroundings.endAll()
      pass(2)
    }
    guard core?.isIdle == true, surroundings.isQuiet else { fatalError("a job's processes have ended, and it has not") }
    if !isTampered, let job = manager.active.values.first {
      fatalError("a job cannot be ended: \(job.eventlog.map(\.line))")
    }
    core?.stopProcesses()
    core?.close()
    core = nil
    try? loop.syncShutdownGracefully()
    guard gone == nil, goneManager == nil else { fatalError("the instance is kept after its end") }
  }
}
