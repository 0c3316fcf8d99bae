// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Logging
import Synchronization
import TestSupport
import Testing

@testable import Targets

/// A target that lies: what it says has a bound, and jobs at other targets do not notice.
@Suite struct HostileTargetTests {
  static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  static let mark = Mark(origin: "here", id: JobID(rawValue: 7), submitted: 1.5, attempt: 1)
  static let id = JobID(rawValue: 99)

  /// Runs `body` with a journal whose stream `script` answers, and that has told of nothing yet.
  ///
  /// - Parameter script: answers all that is asked.
  static func withJournal(
    maximumKept: Int = 1 << 20, _ script: @escaping FakeInstance.Script,
    _ body: @escaping @Sendable (TargetJournal, FluxConnection) async throws -> Void
  ) async throws {
    try await FakeInstance.with(script: script) { uri in
      try await FluxConnection.withConnection(to: uri, configuration: .patient, logger: logger) { connection in
        let journal = TargetJournal(connection, origin: mark.origin, maximumKept: maximumKept)
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { _ = await journal.run() }
          defer { group.cancelAll() }
          try await body(journal, connection)
        }
      }
    }
  }

  /// What the journal says of a job.
  static func told(_ events: [JSON], _ more: JSONObject = JSONObject()) -> JSON {
    var object = more
    object["id"] = id.json
    object["events"] = .array(events)
    return .object(object)
  }

  static func event(_ name: String, _ context: JSON = [:]) -> JSON {
    ["timestamp": 1.5, "name": .string(name), "context": context]
  }

  /// The end of what the journal has to say of the past.
  static let sentinel: JSON = ["id": -1, "events": []]

  static let jobspec: JSON = ["attributes": ["user": ["delegate": mark.json]]]

  /// All that is told of the job, up to and with what ends it for the listener.
  static func follow(
    _ journal: TargetJournal, until isLast: @escaping @Sendable (DelegatedJob.Event) -> Bool
  ) async -> [DelegatedJob.Event] {
    let (events, sink) = AsyncStream<DelegatedJob.Event>.makeStream()
    await journal.follow(id) { sink.yield($0) }
    var found: [DelegatedJob.Event] = []
    for await event in events {
      found.append(event)
      if isLast(event) || isLost(event) { break }
    }
    return found
  }

  /// The words of an exception are cut where they come in.
  @Test func wordsAreCut() async throws {
    let long = JSON.string(String(repeating: "ä", count: 10_000))
    try await Self.withJournal { request, peer in
      guard request.topic == "job-manager.events-journal" else {
        return try await peer.refuse(request, .notImplemented)
      }
      let events = [
        Self.event("submit", ["urgency": 0]),
        Self.event("exception", ["type": long, "severity": 0, "note": long]), Self.event("clean"),
      ]
      try await peer.answer(request, Self.told(events, ["jobspec": Self.jobspec]))
      try await peer.answer(request, Self.sentinel)
    } _: { journal, _ in
      try await journal.waitUntilReady()
      let events = await Self.follow(journal) { if case .remote = $0 { true } else { false } }
      guard case .remote(let remote)? = events.last, case .exception(let type, let note)? = remote.dropFirst().first
      else {
        Issue.record("\(events)")
        return
      }
      #expect(type.utf8.count <= 4096 && type.hasSuffix("ä…"))
      #expect(note.utf8.count <= 4096 && note.hasSuffix("ä…"))
    }
  }

  /// Logs that are too long for one piece are not read at all, and the connection goes on.
  @Test func longLogsAreNotFetched() async throws {
    try await Self.withJournal { request, peer in
      switch request.topic {
      case "attr.get": try await peer.answer(request, ["value": "1"])
      case "job-info.lookup":
        let isLong = try request.json()?["id"]?.intValue == 1
        try await peer.answer(request, ["guest.output": .string(String(repeating: "x", count: isLong ? 2 << 20 : 2))])
      default: try await peer.refuse(request, .notImplemented)
      }
    } _: { journal, connection in
      let target = try await FluxTarget.probe(connection, journal: journal, within: .seconds(600))
      #expect(try await target.logs(["guest.output"], of: JobID(rawValue: 1)) == nil)
      #expect(try await target.logs(["guest.output"], of: JobID(rawValue: 2)) == ["guest.output": "xx"])
    }
  }

  private static func isRemote(_ event: DelegatedJob.Event) -> Bool {
    if case .remote = event { true } else { false }
  }

  private static func isLost(_ event: DelegatedJob.Event) -> Bool {
    if case .lost = event { true } else { false }
  }

  /// Of a job that nobody follows yet so much is kept; when there was more, it is looked up.
  @Test(arguments: [(100, 1), (2, 70_000)]) func soMuchIsKeptOfAJob(_ count: Int, _ length: Int) async throws {
    let memo = Self.event("memo", ["x": .string(String(repeating: "x", count: length))])
    try await Self.withJournal { request, peer in
      switch request.topic {
      case "job-manager.events-journal":
        let first = Self.told([Self.event("submit", ["urgency": 0])], ["jobspec": Self.jobspec])
        try await peer.answer(request, first)
        for _ in 0..<count { try await peer.answer(request, Self.told([memo])) }
        try await peer.answer(request, Self.told([Self.event("urgency", ["urgency": 16])]))
        try await peer.answer(request, Self.sentinel)
      case "job-info.lookup":
        let log = Eventlog(entries: [EventlogEntry(timestamp: 1.5, name: "urgency", context: ["urgency": 3])])
        try await peer.answer(request, ["eventlog": .string(log.text)])
      default: try await peer.refuse(request, .notImplemented)
      }
    } _: { journal, _ in
      try await journal.waitUntilReady()
      // What it is, is known all the same: it was released.
      #expect(await journal.strays(since: .zero).map(\.isHeld) == [false])
      #expect(await Self.follow(journal, until: Self.isRemote) == [.following, .remote([.urgency(3)])])
    }
  }

  /// Of all jobs together so much is kept.
  @Test func soMuchIsKeptOfAllJobs() async throws {
    let memo = Self.event("memo", ["x": .string(String(repeating: "x", count: 600))])
    let jobspec: JSON = ["attributes": ["user": ["delegate": Self.other.json]]]
    try await Self.withJournal(maximumKept: 1000) { request, peer in
      switch request.topic {
      case "job-manager.events-journal":
        try await peer.answer(request, ["id": 100, "events": [memo], "jobspec": jobspec])
        try await peer.answer(request, Self.told([memo], ["jobspec": Self.jobspec]))
        try await peer.answer(request, Self.sentinel)
      default: try await peer.refuse(request, .notImplemented)
      }
    } _: { journal, _ in
      try await journal.waitUntilReady()
      guard case .lost? = await Self.follow(journal, until: Self.isRemote).last else {
        Issue.record("the second job was not looked up")
        return
      }
      let (events, sink) = AsyncStream<DelegatedJob.Event>.makeStream()
      await journal.follow(JobID(rawValue: 100)) { sink.yield($0) }
      #expect(await events.first { Self.isRemote($0) || Self.isLost($0) }.map(Self.isRemote) == true)
    }
  }

  /// What was not asked for is not kept.
  @Test func otherEventsAreNotKept() async throws {
    let other = Self.event("dependency-add", ["description": .string(String(repeating: "x", count: 70_000))])
    try await Self.withJournal { request, peer in
      guard request.topic == "job-manager.events-journal" else {
        return try await peer.refuse(request, .notImplemented)
      }
      let events = [Self.event("submit", ["urgency": 0]), other, other]
      try await peer.answer(request, Self.told(events, ["jobspec": Self.jobspec]))
      try await peer.answer(request, Self.sentinel)
    } _: { journal, _ in
      try await journal.waitUntilReady()
      #expect(await Self.follow(journal, until: Self.isRemote) == [.following, .remote([.urgency(0)])])
    }
  }

  /// A mark has a length; a longer one is none.
  @Test func aMarkHasSoManyBytes() throws {
    var mark = Self.mark
    mark.origin = String(repeating: "x", count: Mark.maximumOriginLength)
    #expect(Mark(jobspec: ["attributes": ["user": ["delegate": mark.json]]]) == mark)
    mark.origin += "x"
    #expect(Mark(jobspec: ["attributes": ["user": ["delegate": mark.json]]]) == nil)
  }

  private static let other = Mark(origin: "here", id: JobID(rawValue: 8), submitted: 2.5, attempt: 1)
  private static let afterwards: JSON = [
    "id": 100, "events": [event("submit", ["urgency": 0])],
    "jobspec": ["attributes": ["user": ["delegate": other.json]]],
  ]

  private static func waitForTheOther(_ journal: TargetJournal) async throws {
    while await journal.unfollowed(other) == nil { try await Task.sleep(for: .milliseconds(2)) }
  }

  /// While the past of a job is looked up so much is kept of what goes on: when there is more, the job is followed anew.
  @Test func soMuchIsKeptDuringALookUp() async throws {
    let (release, released) = AsyncStream<Never>.makeStream()
    let stream = Mutex<Message?>(nil)
    try await Self.withJournal { request, peer in
      switch request.topic {
      case "job-manager.events-journal":
        stream.withLock { $0 = request }
        try await peer.answer(request, Self.sentinel)
      case "job-info.lookup":
        guard let journal = stream.withLock({ $0 }) else { return }
        for _ in 0..<100 { try await peer.answer(journal, Self.told([Self.event("urgency", ["urgency": 1])])) }
        try await peer.answer(journal, Self.afterwards)
        for await _ in release {}
        try await peer.answer(request, ["eventlog": ""])
      default: try await peer.refuse(request, .notImplemented)
      }
    } _: { journal, _ in
      try await journal.waitUntilReady()
      async let told = Self.follow(journal, until: Self.isLost)
      try await Self.waitForTheOther(journal)
      released.finish()
      guard case .lost(let failure)? = await told.first else {
        Issue.record("\(await told)")
        return
      }
      #expect(failure.isTransient && failure.message.contains("tells more of job"))
    }
  }

  /// A target that tells more than can be taken is not read meanwhile.
  @Test func whatIsNotTakenIsNotRead() async throws {
    let count = 3 * Backlog.capacity
    try await Self.withJournal { request, peer in
      guard request.topic == "job-manager.events-journal" else {
        return try await peer.refuse(request, .notImplemented)
      }
      try await peer.answer(request, Self.told([], ["jobspec": Self.jobspec]))
      try await peer.answer(request, Self.sentinel)
      for _ in 0..<count { try await peer.answer(request, Self.told([Self.event("urgency", ["urgency": 1])])) }
      try await peer.answer(request, Self.afterwards)
    } _: { journal, _ in
      try await journal.waitUntilReady()
      let told = Mutex(0)
      let (_, sink) = AsyncStream<DelegatedJob.Event>.makeStream()
      await journal.follow(Self.id) { event in
        if case .remote(let events) = event { told.withLock { $0 += events.count } }
        sink.yield(event)
      }
      while told.withLock({ $0 }) < Backlog.capacity { try await Task.sleep(for: .milliseconds(2)) }
      try await Task.sleep(for: .milliseconds(50))
      #expect(told.withLock { $0 } == Backlog.capacity)
      #expect(await journal.unfollowed(Self.other) == nil)
      journal.backlog.take(count)
      try await Self.waitForTheOther(journal)
      #expect(told.withLock { $0 } == count)
    }
  }
}
