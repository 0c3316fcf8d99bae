// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import TestSupport
import Testing

@testable import EmbeddedFlux

/// What `flux queue`, `flux resource`, `flux job`, `flux setattr`, `flux uptime` and others ask of an instance beside running jobs.
@Suite struct AdministrationTests {
  typealias Setup = InstanceTests

  private static func words(_ body: () throws -> Void) -> String? {
    do {
      try body()
      return nil
    } catch { return (error as? ServiceError).map { "\($0.errnum.rawValue) \($0.text ?? "")" } ?? "\(error)" }
  }

  private static func expect(
    _ connection: FluxConnection, _ topic: String, _ payload: JSON, fails words: String,
    _ location: SourceLocation = #_sourceLocation
  ) async {
    await #expect(sourceLocation: location) {
      try await connection.rpc(topic, payload)
    } throws: {
      "\($0)" == words
    }
  }

  // MARK: Nodes

  @Test func drainedNodes() throws {
    var nodes = DrainedNodes()
    try nodes.drain([0, 1], reason: "bad", mode: nil, at: 10.4)
    try nodes.drain([2], reason: nil, mode: nil, at: 11)
    #expect(
      nodes.json == ["0-1": ["timestamp": 10.0, "reason": "bad"], "2": ["timestamp": 11.0, "reason": ""]])
    #expect(Self.words { try nodes.drain([0, 3], reason: "x", mode: nil, at: 12) } == "17 rank 0 already drained")
    #expect(Self.words { try nodes.drain([0, 1], reason: "x", mode: nil, at: 12) } == "17 ranks 0-1 already drained")
    #expect(Self.words { try nodes.drain([0], reason: "x", mode: "y", at: 12) } == "22 Invalid mode specified")
    #expect(nodes.ranks == [0, 1, 2])
    // One without a reason may get one; it is drained since the same time.
    try nodes.drain([2], reason: "late", mode: nil, at: 20)
    #expect(nodes.entries[2] == DrainedNodes.Entry(timestamp: 11, reason: "late"))
    try nodes.drain([0, 3], reason: "x", mode: "update", at: 21)
    #expect(nodes.entries[0]?.reason == "bad" && nodes.entries[3] == DrainedNodes.Entry(timestamp: 21, reason: "x"))
    try nodes.drain([0], reason: "y", mode: "overwrite", at: 22)
    try nodes.drain([1], reason: "y", mode: "force-overwrite", at: 23)
    #expect(nodes.entries[0]?.timestamp == 10 && nodes.entries[1]?.timestamp == 23)
    #expect(Self.words { try nodes.undrain([1, 5], mode: nil) } == "17 rank 5 not drained")
    try nodes.undrain([1, 5], mode: "update")
    #expect(nodes.ranks == [0, 2, 3])
    var again = DrainedNodes()
    again.restore(nodes.json, nodes: 3)
    #expect(again.ranks == [0, 2] && again.entries[2]?.reason == "late")
  }

  @Test func targetsOfADrain() throws {
    let all = ResourceSet(ranks: (0..<3).map { ResourceSet.Rank(rank: $0, host: "n\($0)", cores: [0]) })
    #expect(try DrainedNodes.targets("0-1", of: all) == [0, 1])
    #expect(try DrainedNodes.targets("n[1-2]", of: all) == [1, 2])
    for (text, words) in [
      ("", "22 idset is empty"), ("3", "22 idset is out of range"),
      ("x1,n0", "22 invalid targets: invalid hosts: x1"),
    ] {
      #expect(Self.words { _ = try DrainedNodes.targets(text, of: all) } == words)
    }
  }

  @Test func aDrainedNodeGetsNoJobs() async throws {
    try await Setup.withInstance(nodes: 2, cores: 1) { _, connection in
      try await connection.rpc("resource.drain", ["targets": "0", "reason": "why"], node: 0)
      let status = try await connection.rpc("resource.status", node: 0)
      #expect(status["drain"]?["0"]?["reason"] == "why")
      let down = try await connection.rpc("resource.sched-status", node: 0)["down"]
      #expect(try ResourceSet(try #require(down)).rankSet == [0])
      let both = try await Setup.submit(connection, Setup.jobspec(["true"], nodes: 2, tasks: 2))
      let one = try await Setup.submit(connection, Setup.jobspec(["true"]))
      // It runs on the other node, and before the first, which would have to wait for ever.
      _ = try await Setup.events(connection, one)
      let ranks = try await connection.rpc("job-list.list-id", ["id": one.json, "attrs": ["ranks"]])
      #expect(ranks["job"]?["ranks"] == "1")
      await Self.expect(connection, "resource.drain", ["targets": "0"], fails: "rank 0 already drained")
      try await connection.rpc("resource.undrain", ["targets": "0"], node: 0)
      #expect(try await Setup.events(connection, both).contains { $0.name == "finish" })
    }
  }

  // MARK: All jobs

  @Test func drainAndIdle() async throws {
    try await Setup.withInstance(nodes: 1, cores: 1) { _, connection in
      #expect(try await connection.rpc("job-manager.idle") == ["pending": 0])
      let latch = Latch()
      defer { latch.remove() }
      let ids = [
        try await Setup.submit(connection, Setup.jobspec(["sh", "-c", latch.wait])),
        try await Setup.submit(connection, Setup.jobspec(["true"])),
        try await Setup.submit(connection, Setup.jobspec(["true"]), urgency: 0),
      ]
      // The one that is held is not waited for.
      async let idle = connection.rpc("job-manager.idle")
      try latch.open()
      #expect(try await idle == ["pending": 1])
      let states = try await connection.rpc("job-list.job-stats")["job_states"]
      #expect(states?["inactive"] == 2 && states?["sched"] == 1)
      async let drained = connection.rpc("job-manager.drain")
      try await connection.rpc("job-manager.urgency", ["id": ids[2].json, "urgency": 16])
      _ = try await drained
      #expect(try await connection.rpc("job-list.job-stats")["job_states"]?["inactive"] == 3)
      // A queue that is stopped is idle too.
      try await connection.rpc("job-manager.queue-start", ["start": false, "all": true])
      _ = try await Setup.submit(connection, Setup.jobspec(["true"]))
      #expect(try await connection.rpc("job-manager.idle") == ["pending": 1])
      #expect(
        try await connection.rpc("job-manager.alloc-query") == ["queue_length": 0, "alloc_pending": 0, "running": 0])
    }
  }

  @Test func purge() async throws {
    try await Setup.withInstance(nodes: 1, cores: 1) { _, connection in
      var ids: [JobID] = []
      for _ in 0..<4 {
        ids.append(try await Setup.submit(connection, Setup.jobspec(["true"])))
        _ = try await Setup.events(connection, try #require(ids.last))
      }
      let active = try await Setup.submit(connection, Setup.jobspec(["true"]), urgency: 0)
      var request: JSON = ["age_limit": -1.0, "num_limit": 3, "batch": 50, "force": false]
      #expect(try await connection.rpc("job-manager.purge", request) == ["count": 1])
      request["force"] = true
      #expect(try await connection.rpc("job-manager.purge", request) == ["count": 1])
      #expect(try await connection.rpc("job-manager.purge", request) == ["count": 0])
      await Self.expect(
        connection, "job-list.list-id", ["id": ids[0].json, "attrs": []], fails: "No such file or directory")
      request["num_limit"] = -1
      request["age_limit"] = 3600.0
      #expect(try await connection.rpc("job-manager.purge", request) == ["count": 0])
      await Self.expect(
        connection, "job-manager.purge-id", ["id": active.json, "force": 1], fails: "cannot purge active job")
      await Self.expect(connection, "job-manager.purge-id", ["id": ids[0].json, "force": 1], fails: "id not found")
      #expect(try await connection.rpc("job-manager.purge-id", ["id": ids[3].json, "force": 1]) == ["count": 1])
      request["batch"] = 101
      await Self.expect(connection, "job-manager.purge", request, fails: "batch must be >= 1 and <= 100")
      let stats = try await connection.rpc("job-list.job-stats")
      #expect(stats["inactive_purged"] == 2 && stats["job_states"]?["inactive"] == 2 && stats["successful"] == 2)
      let left = try await connection.rpc("job-manager.history.get", ["slice": "[:]"])["jobs"]
      #expect(left == [active.json, ids[2].json, ids[1].json])
    }
  }

  @Test func killAll() async throws {
    try await Setup.withInstance(nodes: 1, cores: 2) { _, connection in
      let ids = [
        try await Setup.submit(connection, Setup.jobspec(["sleep", "60"])),
        try await Setup.submit(connection, Setup.jobspec(["sleep", "60"])),
      ]
      for id in ids {
        let request: JSON = ["id": id.json, "path": "guest.exec.eventlog", "flags": 0]
        for try await response in await connection.stream("job-info.eventlog-watch", request)
        where response.text?.contains("shell.start") == true { break }
      }
      var request: JSON = ["dry_run": true, "userid": -1, "signum": 15]
      #expect(try await connection.rpc("job-manager.killall", request) == ["count": 2, "errors": 0])
      request["dry_run"] = false
      request["userid"] = .int(Int64(getuid()) + 1)
      #expect(try await connection.rpc("job-manager.killall", request) == ["count": 0, "errors": 0])
      request["userid"] = .int(Int64(getuid()))
      #expect(try await connection.rpc("job-manager.killall", request) == ["count": 2, "errors": 0])
      for id in ids {
        let events = try await Setup.events(connection, id)
        #expect(events.first { $0.name == "finish" }?.context?["status"] == 36608, "\(events)")
      }
    }
  }

  // MARK: Documents that change

  @Test func updatesAreFollowed() async throws {
    try await Setup.withInstance(nodes: 1, cores: 1) { _, connection in
      let id = try await Setup.submit(connection, Setup.jobspec(["sleep", "60"], duration: 600))
      let request: JSON = ["id": id.json, "path": "eventlog", "flags": 0]
      for try await response in await connection.stream("job-info.eventlog-watch", request)
      where response.text?.contains("alloc") == true { break }
      let watch: JSON = ["id": id.json, "key": "R", "flags": 0]
      var expirations: [Double] = []
      for try await response in await connection.stream("job-info.update-watch", watch) {
        let expiration = try response.json()?["R"]?["execution"]?["expiration"]?.doubleValue ?? 0
        expirations.append(expiration)
        if expirations.count == 1 {
          try await connection.rpc(
            "job-manager.update", ["id": id.json, "updates": ["attributes.system.duration": 700.0]])
        } else {
          try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
        }
      }
      #expect(expirations.count == 2 && abs(expirations[1] - expirations[0] - 100) < 0.01, "\(expirations)")
      let now = try await connection.rpc("job-info.update-lookup", watch)
      #expect(now["R"]?["execution"]?["expiration"]?.doubleValue == expirations.last)
      await Self.expect(
        connection, "job-info.update-lookup", ["id": id.json, "key": "jobspec", "flags": 0],
        fails: "update-lookup unsupported key specified")
      await Self.expect(
        connection, "job-info.update-watch", watch,
        fails: "update-watch request rejected without streaming RPC flag")
    }
  }

  // MARK: Attributes, pings, what is not there

  @Test func attributes() async throws {
    try await Setup.withInstance { _, connection in
      #expect(try await connection.rpc("attr.get", ["name": "statedir-cleanup"])["value"] == "1")
      try await connection.rpc("attr.set", ["name": "content.dump", "value": "auto"])
      #expect(try await connection.rpc("attr.get", ["name": "content.dump"]) == ["value": "auto", "flags": 0])
      try await connection.rpc("attr.rm", ["name": "content.dump"])
      await Self.expect(connection, "attr.get", ["name": "content.dump"], fails: "No such file or directory")
      await Self.expect(connection, "attr.set", ["name": "x", "value": "y"], fails: "unknown attribute")
      await Self.expect(
        connection, "attr.set", ["name": "size", "value": "9"], fails: "attribute may not be updated")
      await Self.expect(connection, "attr.rm", ["name": "size"], fails: "Operation not permitted")
    }
  }

  @Test func everyServiceAnswersAPing() async throws {
    try await Setup.withInstance { _, connection in
      for service in ["broker", "job-manager", "kvs"] {
        let answer = try await connection.rpc("\(service).ping", ["seq": 3, "pad": "xx"])
        #expect(answer["seq"] == 3 && answer["pad"] == "xx" && answer["rank"] == 0)
        #expect(answer["userid"]?.intValue == Int64(getuid()))
        #expect(answer["route"]?.stringValue?.hasSuffix("!\(service)") == true)
      }
      await Self.expect(connection, "nobody.ping", [:], fails: "No service matching nobody.ping is registered")
    }
  }

  /// What is asked for in vain is in the log, once.
  @Test func whatIsNotThereIsInTheLog() async throws {
    try await Setup.withInstance { _, connection in
      for _ in 0..<3 {
        await Self.expect(connection, "cron.list", [:], fails: "No service matching cron.list is registered")
        await Self.expect(connection, "job-manager.nosuch", [:], fails: "Unknown service method 'job-manager.nosuch'")
      }
      var lines: [String] = []
      for try await response in await connection.stream("log.dmesg", ["follow": false]) {
        if let text = response.text, text.contains("not supported") { lines.append(text) }
      }
      #expect(lines.count == 2 && lines[0].contains("cron.list") && lines[1].contains("job-manager.nosuch"), "\(lines)")
    }
    var topics = UnansweredTopics()
    #expect(topics.line(for: "0-shell-f1.stdin") == nil, "a job that has ended has no shell, in Flux as well")
    let named = (0..<1000).compactMap { topics.line(for: "x.\($0)") }
    #expect(named.count == UnansweredTopics.maximum && named.last?.hasSuffix("others are not named any more") == true)
  }

  // MARK: What top and uptime ask

  @Test func topAndUptime() async throws {
    try await Setup.withInstance(nodes: 3) { _, connection in
      #expect(try await connection.rpc("state-machine.get")["state"] == "run")
      #expect(try await connection.rpc("groups.get", ["name": "broker.online"]) == ["members": "0-2"])
      let value = try await connection.rpc(
        "kvs.lookup", ["key": "resource.R", "namespace": "primary", "flags": 0])["val"]
      let text = String(decoding: try Base64.decode(value?["data"]?.stringValue ?? ""), as: UTF8.self)
      #expect(try ResourceSet(try JSON(parsing: text)).nodeCount == 3)
      var counts: [JSON?] = []
      for try await response in await connection.stream("job-list.job-stats", [:]) {
        counts.append(try response.json()?["job_states"]?["total"])
        if counts.count == 1 { _ = try await Setup.submit(connection, Setup.jobspec(["true"])) }
        if counts.count == 2 { break }
      }
      #expect(counts == [0, 1])
      for await event in try await connection.events(prefix: "heartbeat.pulse") {
        #expect(event.topic == "heartbeat.pulse")
        break
      }
    }
  }
}
