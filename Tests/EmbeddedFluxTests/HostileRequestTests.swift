// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc
import Testing

@testable import EmbeddedFlux

/// Requests that one client sends, and others must not have to suffer for. Most were found by fuzzing the handlers.
@Suite struct HostileRequestTests {
  private static func nested(_ depth: Int) -> JSON { (1..<depth).reduce([:]) { inner, _ in ["a": inner] } }

  /// What follows a request is wrapped in answers: these are deeper than it.
  @Test func othersCanReadWhatIsNestedAsDeepAsARequestMayBe() async throws {
    try await InstanceTests.withInstance { _, connection in
      var jobspec = try InstanceTests.jobspec(["true"])
      jobspec.set(attribute: "attributes.user.x", to: Self.nested(61))
      let id = try await InstanceTests.submit(connection, jobspec, urgency: 0)
      try await connection.rpc("job-manager.memo", ["id": id.json, "memo": Self.nested(63)])
      _ = try await connection.rpc("job-list.list", ["attrs": ["all"], "max_entries": 0])
      _ = try await connection.rpc("job-manager.getattr", ["id": id.json, "attrs": ["jobspec", "eventlog"]])
      for try await response in await connection.stream("job-manager.events-journal", ["full": true]) {
        if try response.json()?["id"] == -1 { break }
      }
    }
  }

  /// A set is short, and what it stands for is long.
  @Test func aMapOfGPUsIsNotWrittenOutWithoutBound() {
    #expect(throws: ShellOptions.Failure(component: "gpubind", text: "failed to parse gpu map 0-2147483647")) {
      try ShellOptions(["gpu-affinity": "map:0-2147483647"]) { _ in 0 }
    }
    #expect(throws: Never.self) { try ShellOptions(["gpu-affinity": "map:0-7;8-15"]) { _ in 0 } }
  }

  /// Each list is short, and each names a million hosts.
  @Test func aListingIsNotAskedForMoreHostsThanThereCanBe() {
    let lists = (0..<100).map { JSON.string("n[\($0)00000-\($0)99999]") }
    #expect(throws: Never.self) { try JobFilter(["hostlist": .array(Array(lists.prefix(10)))]) }
    do {
      _ = try JobFilter(["hostlist": .array(lists)])
      Issue.record("10 million hosts are taken")
    } catch { #expect(error.errnum == .invalid) }
  }

  /// What is looked at for each job is bounded.
  @Test func aListingIsNotAskedForMoreThanItCanTell() throws {
    let values = { (count: Int) in JSON.array((0..<count).map { .string("n\($0)") }) }
    let operands = { (count: Int) in JSON.array(Array(repeating: ["states": ["run"]], count: count)) }
    #expect(throws: Never.self) { try JobFilter(["name": values(JobFilter.maximumTerms)]) }
    #expect(throws: Never.self) { try JobFilter(["or": operands(JobFilter.maximumTerms / 2)]) }
    for json: JSON in [["name": values(JobFilter.maximumTerms + 1)], ["or": operands(JobFilter.maximumTerms)]] {
      #expect { try JobFilter(json) } throws: { ($0 as? ServiceError)?.errnum == .invalid }
    }
  }

  /// What is said of a task's node is known without a look at all other tasks.
  @Test(.timeLimit(.minutes(1))) func manyTasksHaveTheirNamesSoon() throws {
    let jobspec = try InstanceTests.jobspec(["true"], tasks: 65_536)
    let resources = ResourceSet(
      ranks: [0, 1].map { ResourceSet.Rank(rank: $0, host: "n\($0)", cores: [0], gpus: []) }, startTime: 0,
      expiration: 0,
      properties: [:])
    let layout = TaskLayout(jobspec, resources)
    let body = JobBody(signed: "", jobspec: jobspec)
    let template = JobTemplate(
      Job(id: JobID(rawValue: 1), userID: 0, urgency: 16, flags: 0, body: body), layout, resources)
    for task in layout.tasks {
      let text = template.render("{{node.ntasks}} {{node.taskids}}", task, upTo: 100)
      #expect(text == (task.node == 0 ? "32768 0-32767" : "32768 32768-65535"))
      #expect(layout.taskCount(of: task.node) == 32_768)
    }
  }

  /// A name may be long, and its tag is short.
  @Test(.timeLimit(.minutes(5))) func whatATagStandsForIsNotWrittenOutWithoutBound() throws {
    var jobspec = try InstanceTests.jobspec(["true"])
    jobspec.set(attribute: "system.job.name", to: .string(String(repeating: "n", count: 1 << 20)))
    let resources = ResourceSet(
      ranks: [ResourceSet.Rank(rank: 0, host: "n0", cores: [0], gpus: [])], startTime: 0, expiration: 0, properties: [:]
    )
    let layout = TaskLayout(jobspec, resources)
    let job = Job(
      id: JobID(rawValue: 1), userID: 0, urgency: 16, flags: 0, body: JobBody(signed: "", jobspec: jobspec))
    let template = JobTemplate(job, layout, resources)
    let task = layout.tasks[0]
    let text = String(repeating: "{{name}}", count: 131_072)
    #expect(template.render(text, task, upTo: JobTemplate.maximumArgument) == nil)
    #expect(template.render("{{name}}", task, upTo: 1 << 20)?.utf8.count == 1 << 20)
    #expect(template.render("{{name}}x", task, upTo: 1 << 20) == nil)
    // Each is short enough, and all together are not.
    let long = String(repeating: "{{jobid.words}}", count: 2000)
    #expect(template.render(command: ["sh", long], task)?.count == 2)
    #expect(template.render(command: Array(repeating: long, count: 1000), task) == nil)
  }

  /// As when the system itself says so.
  @Test func whatIsTooLongWhenWrittenOutEndsTheJob() async throws {
    try await InstanceTests.withInstance { _, connection in
      for (command, output, words) in [
        (["true", "{{name}}{{name}}"], nil, "true: Argument list too long"),
        (["true"], "/tmp/{{name}}", "File name too long"),
      ] {
        var jobspec = try InstanceTests.jobspec(command)
        jobspec.set(attribute: "system.job.name", to: .string(String(repeating: "n", count: 100 << 10)))
        if let output { jobspec.set(attribute: "system.shell.options.output.stdout.path", to: .string(output)) }
        let id = try await InstanceTests.submit(connection, jobspec)
        let failure = try await InstanceTests.events(connection, id).first { $0.name == "exception" }
        #expect(failure?.context?["note"]?.stringValue?.hasSuffix(words) == true, "\(failure as Any)")
      }
    }
  }

  private static func request(from client: String, tag: UInt32) -> Request {
    var message = Message.request("a.b", matchTag: tag)
    message.routes = [client]
    return Request(message: message, payload: [:])
  }

  /// A client has its share of streams; another has its own.
  @Test func streamsOfAClientAreBounded() throws {
    var streams = StreamSet<Void>(maximum: 2)
    let first = try streams.add(Self.request(from: "a", tag: 1), ())
    _ = try streams.add(Self.request(from: "a", tag: 2), ())
    #expect(throws: ServiceError.self) { try streams.add(Self.request(from: "a", tag: 3), ()) }
    _ = try streams.add(Self.request(from: "b", tag: 1), ())
    streams.remove(first)
    _ = try streams.add(Self.request(from: "a", tag: 3), ())
    streams.drop(.client("a"))
    #expect(streams.count == 1)
    for tag in UInt32(4)..<6 { _ = try streams.add(Self.request(from: "a", tag: tag), ()) }
    #expect(throws: ServiceError.self) { try streams.add(Self.request(from: "a", tag: 6), ()) }
  }

  @Test func subscriptionsAreBounded() async throws {
    try await InstanceTests.withInstance { _, connection in
      let tooLong = JSON.string(String(repeating: "x", count: Broker.maximumPrefix + 1))
      await #expect { try await connection.rpc("event.subscribe", ["topic": tooLong]) } throws: {
        ($0 as? RPCError)?.errnum == Errnum.overflow.rawValue
      }
      for number in 0..<Broker.maximumSubscriptions {
        try await connection.rpc("event.subscribe", ["topic": .string("t\(number)")])
      }
      await #expect { try await connection.rpc("event.subscribe", ["topic": "one more"]) } throws: {
        ($0 as? RPCError)?.errnum == Errnum.overflow.rawValue
      }
      // One that is there already is counted, not kept.
      try await connection.rpc("event.subscribe", ["topic": "t0"])
    }
  }

  @Test func aLineOfTheLogIsCut() async throws {
    try await InstanceTests.withInstance { _, connection in
      let words = String(repeating: "x", count: 4 * LogService.maximumLine)
      await connection.log(line: words)
      for try await line in await connection.stream("log.dmesg", ["follow": true]) {
        if line.text?.hasPrefix("xxx") == true {
          #expect(line.text?.utf8.count == LogService.maximumLine)
          break
        }
      }
    }
  }

  /// A job's events are kept as long as the job: nobody can make them grow for ever, and it can be ended all the same.
  @Test func whatRequestsAddToAJobIsBounded() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let words = JSON.string(String(repeating: "x", count: 20 << 20))
      func post() async throws {
        try await connection.rpc(
          "job-manager.post-event.post", ["id": id.json, "name": "x", "context": ["words": words]])
      }
      for _ in 0..<3 { try await post() }
      await #expect { try await post() } throws: { ($0 as? RPCError)?.errnum == Errnum.overflow.rawValue }
      let cancel: JSON = ["id": id.json, "type": "cancel", "severity": 0, "note": words]
      try await connection.rpc("job-manager.raise", cancel)
    }
  }

  /// An update that is posted as an event is not checked by anybody: it is counted with all the same.
  @Test(arguments: ["node", "slot"]) func aPostedUpdateMayAskForAnyNumber(_ type: String) async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let core: JSON = ["type": "core", "count": .int(.max)]
      let slot: JSON = ["type": "slot", "count": .int(.max), "label": "task", "with": [core]]
      let resources: JSON = type == "slot" ? slot : ["type": "node", "count": .int(.max), "with": [slot]]
      try await connection.rpc(
        "job-manager.post-event.post",
        ["id": id.json, "name": "jobspec-update", "context": ["resources": [resources]]])
      try await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
      _ = try await connection.rpc("job-list.list", ["attrs": ["all"], "max_entries": 0])
    }
  }

  /// An event that is posted ends the job, and not its processes: its cores are free when these are.
  @Test(arguments: ["clean", "free"]) func aPostedEndDoesNotLoseCores(_ name: String) async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 1) { _, connection in
      let id = try await InstanceTests.submit(
        connection, InstanceTests.jobspec(["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]))
      for try await response in await connection.stream(
        "job-info.eventlog-watch", ["id": id.json, "path": "guest.output", "flags": 1])
      { if try response.json()?["event"]?.stringValue?.contains("ready") == true { break } }
      try await connection.rpc("job-manager.raise", ["id": id.json, "type": "cancel", "severity": 0])
      try await StateTests.post(connection, id, name)
      #expect(try await InstanceTests.events(connection, id).last?.name == "clean")
      let next = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
      #expect(try await InstanceTests.events(connection, next).last?.name == "clean")
    }
  }

  /// A job that nothing runs for gives back at once what it has.
  @Test func aPostedEndInAPrologDoesNotLoseCores() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 1) { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      try await StateTests.post(connection, id, "prolog-start", ["description": "p"])
      try await connection.rpc("job-manager.urgency", ["id": id.json, "urgency": 16])
      _ = try await InstanceTests.events(connection, id, until: "alloc")
      try await StateTests.post(connection, id, "finish", ["status": 0])
      try await StateTests.post(connection, id, "clean")
      let next = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]))
      #expect(try await InstanceTests.events(connection, next).last?.name == "clean")
    }
  }

  /// Whoever asks for the same a thousand times gets it once. Its size does not count a thousand times either.
  @Test func whatIsAskedForOftenIsMadeOnce() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let words = JSON.string(String(repeating: "x", count: 1 << 20))
      try await StateTests.post(connection, id, "x", ["words": words])
      let keys = JSON.array(Array(repeating: "eventlog", count: 50_000))
      let found = try await connection.rpc("job-info.lookup", ["id": id.json, "keys": keys, "flags": 0])
      #expect(found["eventlog"]?.stringValue?.utf8.count ?? 0 > 1 << 20)
      let same = try await connection.rpc("job-manager.getattr", ["id": id.json, "attrs": keys])
      #expect(same["eventlog"]?.arrayValue?.last?["context"]?["words"] == words)
    }
  }

  /// What is said to all jobs, or of all queues, is kept for each of them.
  @Test func whatIsSaidToAllIsShort() async throws {
    try await InstanceTests.withInstance { _, connection in
      let words = JSON.string(String(repeating: "x", count: 4096))
      let tooLong = JSON.string(String(repeating: "x", count: 4097))
      func isRefused(_ topic: String, _ payload: JSON) async throws {
        await #expect { try await connection.rpc(topic, payload) } throws: {
          ($0 as? RPCError)?.errnum == Errnum.invalid.rawValue
        }
      }
      for (key, topic) in [("enable", "job-manager.queue-enable"), ("start", "job-manager.queue-start")] {
        let request: JSONObject = ["all": true, key: false]
        try await isRefused(topic, .object(request.merging("reason", tooLong)))
        try await connection.rpc(topic, .object(request.merging("reason", words)))
      }
      let raise: JSONObject = ["type": "x", "severity": 1, "states": 0xff, "userid": -1]
      try await isRefused("job-manager.raiseall", .object(raise.merging("note", tooLong)))
      try await isRefused("job-manager.raiseall", .object(raise.merging("type", tooLong)))
      try await connection.rpc("job-manager.raiseall", .object(raise.merging("note", words)))
    }
  }

  /// An exception for all jobs counts for each: one that has its share of events gets no more, but for the one that ends it.
  @Test func anExceptionForAllIsCounted() async throws {
    try await InstanceTests.withInstance { instance, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      let core = instance.core
      try await instance.loop.submit { core.value.manager.jobs[id]?.requested = Job.maximumRequested }.get()
      let raise: JSONObject = ["type": "x", "states": 0xff, "userid": -1, "note": "n"]
      let refused = try await connection.rpc("job-manager.raiseall", .object(raise.merging("severity", 1)))
      #expect(refused == ["count": 1, "errors": 1])
      let ended = try await connection.rpc("job-manager.raiseall", .object(raise.merging("severity", 0)))
      #expect(ended == ["count": 1, "errors": 0])
      #expect(try await StateTests.state(connection, id) == .inactive)
    }
  }

  /// As many keys as in an update that is asked for.
  @Test func aPostedUpdateHasFewKeys() async throws {
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"]), urgency: 0)
      func updates(_ count: Int) -> JSON {
        var updates: JSONObject = [:]
        for number in 0..<count { updates["attributes.user.k\(number)"] = 1 }
        return .object(updates)
      }
      try await StateTests.post(connection, id, "jobspec-update", updates(64))
      await #expect { try await StateTests.post(connection, id, "jobspec-update", updates(65)) } throws: {
        ($0 as? RPCError)?.errnum == Errnum.invalid.rawValue
      }
    }
  }

  /// To take many members away costs about what it costs to add them.
  @Test(.timeLimit(.minutes(5))) func aMemoWithManyMembersIsTakenBack() {
    var members: JSONObject = [:]
    var nulls: JSONObject = [:]
    for number in 0..<50_000 {
      members["\(number)"] = 1
      nulls["\(number)"] = .null
    }
    var memo: JSONObject = ["kept": 1]
    memo.merge(annotations: members)
    memo.merge(annotations: ["inner": .object(members)])
    #expect(memo.count == 50_002)
    memo.merge(annotations: nulls)
    memo.merge(annotations: ["inner": .object(nulls)])
    #expect(memo == ["kept": 1])
  }
}

extension JSONObject {
  fileprivate func merging(_ key: String, _ value: JSON) -> JSONObject {
    var merged = self
    merged[key] = value
    return merged
  }
}
