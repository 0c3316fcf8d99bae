// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import NIOCore
import NIOPosix
import Testing

@testable import EmbeddedFlux

/// What requests and jobs make an instance keep: as little as it needs, and not for longer.
@Suite struct LeftBehindTests {
  /// A job manager with its services, and clients that keep the errors that they are answered. On one event loop; nothing is run.
  private final class Bench {
    let broker: Broker
    let manager: JobManager
    private var errors: [String: [UInt32]] = [:]

    init(_ loop: any EventLoop, _ surroundings: any Surroundings) {
      broker = Broker(loop: loop, logger: InstanceTests.logger)
      let node = ResourceSet.Rank(rank: 0, host: "n0", cores: [0, 1], gpus: [])
      manager = JobManager(broker, LogService(broker), VirtualCluster(ResourceSet(ranks: [node])), surroundings)
      broker.register("job-manager", JobManagerService(broker, manager))
      broker.register("job-list", JobListService(broker, manager))
    }

    func client() -> String {
      var name = ""
      let sink: Broker.Sink = { [unowned self] message in
        if message.detail != 0 { errors[name, default: []].append(message.detail) }
      }
      name = broker.addClient(userID: getuid(), sink) ?? ""
      return name
    }

    func ask(_ client: String, _ topic: String, _ payload: JSON, streaming: Bool = false) -> [UInt32] {
      broker.receive(.request(topic, payload, matchTag: 7, options: streaming ? .streaming : []), from: client)
      return errors.removeValue(forKey: client) ?? []
    }

    /// Submits a job, held, that waits for others.
    @discardableResult
    func submit(_ dependencies: [(scheme: String, value: String)] = []) throws -> Job {
      var jobspec = try InstanceTests.jobspec(["true"])
      jobspec.set(
        attribute: "dependencies",
        to: .array(dependencies.map { ["scheme": .string($0.scheme), "value": .string($0.value)] }))
      let job = Job(
        id: manager.newID(), userID: getuid(), urgency: 0, flags: 0, body: JobBody(signed: "", jobspec: jobspec))
      try manager.add(job)
      return job
    }
  }

  private static func onLoop(_ body: @escaping @Sendable (Bench) throws -> Void) async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let reactor = try ProcessReactor(loop)
    let result = loop.submit { try body(Bench(loop, reactor)) }
    _ = try? await result.get()
    try await reactor.stop()
    try await result.get()
  }

  // MARK: Dependencies

  @Test func dependenciesOfAJobAreBounded() async throws {
    try await Self.onLoop { bench in
      let many = { (count: Int) in (0..<count).map { (scheme: "begin-time", value: "\($0 + 1)") } }
      let job = try bench.submit(many(JobManager.maximumDependencies))
      #expect(job.eventlog.count { $0.name == "dependency-add" } == JobManager.maximumDependencies)
      #expect { try bench.submit(many(JobManager.maximumDependencies + 1)) } throws: {
        ($0 as? ServiceError)?.errnum == .invalid
      }
      #expect(bench.manager.active.count == 1)
    }
  }

  /// A job that is rejected for its second dependency does not wait for the first.
  @Test func aRejectedJobIsForgotten() async throws {
    try await Self.onLoop { bench in
      let first = try bench.submit()
      for scheme in ["no-such-scheme", "afterok"] {
        #expect(throws: ServiceError.self) {
          try bench.submit([("afterany", first.id.encoded(.dec)), (scheme, "nonsense")])
        }
      }
      #expect(bench.manager.dependants.isEmpty && bench.manager.active.count == 1)
    }
  }

  @Test func aJobThatHasEndedWaitsForNobody() async throws {
    try await Self.onLoop { bench in
      let first = try bench.submit()
      let waiter = try bench.submit([
        ("afterany", first.id.encoded(.dec)), ("afterok", first.id.encoded(.f58)),
      ])
      #expect(bench.manager.dependants[first.id]?.count == 1)
      bench.manager.raise(waiter, type: "cancel", severity: 0, note: "")
      #expect(waiter.state == .inactive && bench.manager.dependants.isEmpty)
      let other = try bench.submit([("afterany", first.id.encoded(.dec))])
      bench.manager.raise(first, type: "cancel", severity: 0, note: "")
      #expect(other.state == .sched && bench.manager.dependants.isEmpty)
    }
  }

  // MARK: Streams

  /// What was asked for is in the stream's state, as far as it is needed.
  @Test func aStreamKeepsNoPayload() throws {
    var streams = StreamSet<Void>()
    var message = Message.request("a.b", ["x": "long"], matchTag: 3, options: .streaming)
    message.routes = ["a", "b"]
    let number = try streams.add(Request(message: message, payload: ["x": "long"]), ())
    let kept = try #require(streams.streams[number]?.request)
    #expect(kept.message.payload == nil && kept.payload == [:])
    #expect(kept.sender == ["a", "b"] && kept.topic == "a.b" && kept.isStreaming && kept.message.matchTag == 3)
  }

  /// What many are told is made once, and not at all for nobody.
  @Test func whatAllAreToldIsMadeOnce() async throws {
    try await Self.onLoop { bench in
      var made = 0
      var requests: [Request] = []
      for count in 0..<3 {
        bench.broker.respond(toAll: requests) {
          made += 1
          return Message.payload(of: ["x": 1])
        }
        #expect(made == count)
        var message = Message.request("a.b", matchTag: UInt32(count))
        message.routes = [bench.client()]
        requests.append(Request(message: message, payload: [:]))
      }
    }
  }

  /// Each has a list of all jobs.
  @Test(
    arguments: [
      ("job-manager.events-journal", ["full": true]), ("job-list.list", ["attrs": ["all"], "max_entries": 0]),
    ] as [(String, JSON)]) func streamsOfAllJobsAreBounded(_ topic: String, _ payload: JSON) async throws
  {
    try await Self.onLoop { bench in
      let client = bench.client()
      // It does not read.
      _ = bench.broker.outflow.queued(Outflow.watermark, for: client)
      try bench.submit()
      for _ in 0..<StreamLimit.maximumOfAllJobs { #expect(bench.ask(client, topic, payload, streaming: true) == []) }
      #expect(bench.ask(client, topic, payload, streaming: true) == [Errnum.busy.rawValue])
      #expect(bench.broker.streamCount == StreamLimit.maximumOfAllJobs)
      #expect(bench.ask(bench.client(), topic, payload, streaming: true) == (topic == "job-list.list" ? [61] : []))
      bench.broker.removeClient(client)
      #expect(bench.broker.streamCount == (topic == "job-list.list" ? 0 : 1))
    }
  }
}
