// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import TestSupport
import Testing

@testable import EmbeddedFlux

/// Priority, order of submission, EASY backfill.
@Suite struct SchedulerTests {
  /// A scheduler over `nodes` nodes, at time 0 with nothing running, and what it has decided since.
  struct World {
    var scheduler: Scheduler
    var now = 0.0
    var reservation: Scheduler.Reservation?
    private(set) var starts: [Scheduler.Start] = []

    init(nodes: Int = 1, cores: Int = 4, gpus: Int = 0, properties: [String: IDSet] = [:]) {
      let ranks = (0..<nodes).map {
        ResourceSet.Rank(rank: $0, host: "n\($0)", cores: IDSet(0..<cores), gpus: IDSet(0..<gpus))
      }
      scheduler = Scheduler(VirtualCluster(ResourceSet(ranks: ranks, properties: properties)))
    }

    mutating func add(
      _ id: UInt64, cores: Int = 1, _ duration: Double = 0, priority: Int64 = 16, queue: String = "",
      _ change: (inout Jobspec.Request) -> Void = { _ in }
    ) throws {
      var request = Jobspec.Request(command: ["true"])
      request.tasks = cores
      change(&request)
      let demand = VirtualCluster.Demand(try Jobspec(request))
      scheduler.add(
        Scheduler.Request(
          id: JobID(rawValue: id), priority: priority, queue: queue, demand: demand, duration: duration))
    }

    /// Passes until nobody starts any more; returns who has started.
    mutating func run(at time: Double) -> [UInt64] {
      now = time
      var ids: [UInt64] = []
      while true {
        let pass = scheduler.pass(at: now)
        reservation = pass.reservation
        starts += pass.starts
        ids += pass.starts.map(\.id.rawValue)
        if pass.starts.isEmpty { return ids }
      }
    }

    mutating func end(_ id: UInt64) { scheduler.release(JobID(rawValue: id)) }
    func start(_ id: UInt64) -> Scheduler.Start? { starts.last { $0.id.rawValue == id } }
    var waits: (id: UInt64, start: Double?)? { reservation.map { ($0.id.rawValue, $0.start) } }
  }

  /// Who leaves from the middle does not move all that are behind.
  @Test(.timeLimit(.minutes(5))) func manyLeaveInAnyOrder() async throws {
    let demand = VirtualCluster.Demand(try Jobspec(Jobspec.Request(command: ["true"])))
    var pending = PendingJobs()
    let count: UInt64 = 100_000
    // Each step meets every number once: the two have no common divisor.
    for step in 0..<count {
      let id = JobID(rawValue: step * 100_003 % count)
      if step % 1000 == 0 { await Task.yield() }
      pending.insert(Scheduler.Request(id: id, priority: 16, demand: demand, duration: 0))
    }
    #expect(pending.prefix(3).map(\.id.rawValue) == [0, 1, 2])
    for step in 0..<count - 1 {
      if step % 1000 == 0 { await Task.yield() }
      pending.remove(JobID(rawValue: step * 77_773 % count))
    }
    #expect(pending.count == 1)
    #expect(pending.first?.id.rawValue == (count - 1) * 77_773 % count)
  }

  @Test func thoseThatWaitAreInOrder() throws {
    let demand = VirtualCluster.Demand(try Jobspec(Jobspec.Request(command: ["true"])))
    var generator = SystemRandomNumberGenerator()
    let jobs = (0..<3000).map { number in
      Scheduler.Request(
        id: JobID(rawValue: UInt64(number)), priority: Int64.random(in: 0..<4, using: &generator), demand: demand,
        duration: 0)
    }
    var pending = PendingJobs()
    for job in jobs.shuffled() { pending.insert(job) }
    for job in jobs where job.id.rawValue % 3 == 0 { pending.remove(job.id) }
    // One that comes twice moves.
    pending.insert(jobs[1])
    var expected = jobs.filter { $0.id.rawValue % 3 != 0 }
    expected.sort { ($1.priority, $0.id) < ($0.priority, $1.id) }
    #expect(pending.count == expected.count)
    #expect(pending.prefix(100).map(\.id) == expected.prefix(100).map(\.id))
    var order: [JobID] = []
    while let job = pending.first {
      order.append(job.id)
      pending.remove(job.id)
      #expect(!pending.contains(job.id))
    }
    #expect(order == expected.map(\.id) && pending.isEmpty)
  }

  @Test func priorityThenOrderOfSubmission() throws {
    var world = World(cores: 1)
    for (id, priority) in [(1, 16), (2, 16), (3, 20), (4, 0), (5, 16)] as [(UInt64, Int64)] {
      try world.add(id, priority: priority)
    }
    var order: [UInt64] = []
    for _ in 0..<5 {
      let started = world.run(at: 0)
      order += started
      for id in started { world.end(id) }
    }
    #expect(order == [3, 1, 2, 5], "who has priority 0 is held")
    #expect(world.scheduler.pendingCount == 1)
  }

  @Test func aShortJobGoesBeforeOneThatWaits() throws {
    var world = World()
    try world.add(1, cores: 3, 100)
    try world.add(2, cores: 4, 50)
    try world.add(3, cores: 1, 101)
    try world.add(4, cores: 1, 100)
    #expect(world.run(at: 0) == [1, 4])
    #expect(world.waits?.id == 2 && world.waits?.start == 100)
    #expect(world.start(4)?.isBefore?.rawValue == 2 && world.start(1)?.isBefore == nil)
    world.end(4)
    // 50 s are left now, and this one takes 101.
    #expect(world.run(at: 50) == [])
    world.end(1)
    #expect(world.run(at: 80) == [2])
    #expect(world.waits?.id == 3 && world.waits?.start == 130)
  }

  @Test func whatTheReservationLeavesIsForAll() throws {
    var world = World(nodes: 2, cores: 2)
    try world.add(1, cores: 2, 100)
    // It gets node 0 when job 1 has ended, and one core of node 1.
    try world.add(2, cores: 3, 10)
    try world.add(3, 0)
    try world.add(4, 0)
    try world.add(5, 100)
    #expect(world.run(at: 0) == [1, 3, 5])
    #expect(world.start(3)?.resources.rankSet == [1])
    #expect(world.waits?.id == 2 && world.waits?.start == 100)
    world.end(1)
    world.end(5)
    #expect(world.run(at: 100) == [2])
  }

  @Test func withoutATimeLimitOfTheOthersTheTimeIsNotKnown() throws {
    var world = World(nodes: 2, cores: 2)
    try world.add(1, cores: 1, 0)
    try world.add(2) {
      ($0.nodes, $0.tasks) = (1, 1); $0.exclusive = true
    }
    try world.add(3) {
      ($0.nodes, $0.tasks) = (2, 2); $0.exclusive = true
    }
    #expect(world.run(at: 0) == [1, 2])
    #expect(world.waits?.id == 3 && world.waits?.start == nil)
    // All nodes are kept for it: it would be there for ever otherwise.
    try world.add(4, 1)
    #expect(world.run(at: 0) == [])
    // The limit of what runs becomes known, and so does the time.
    world.scheduler.limit(JobID(rawValue: 1), until: 50)
    world.scheduler.limit(JobID(rawValue: 2), until: 70)
    #expect(world.run(at: 10) == [4])
    #expect(world.waits?.start == 70)
    world.scheduler.limit(JobID(rawValue: 2), until: 0)
    #expect(world.run(at: 10) == [] && world.waits?.id == 3 && world.waits?.start == nil)
  }

  @Test func aJobThatOverstaysHoldsItsPlace() throws {
    var world = World()
    try world.add(1, cores: 3, 10)
    try world.add(2, cores: 4, 10)
    try world.add(3, cores: 1, 5)
    #expect(world.run(at: 0) == [1, 3])
    world.end(3)
    try world.add(4, cores: 1, 5)
    #expect(world.run(at: 12) == [] && world.waits?.id == 2)
  }

  @Test func gpusAndConstraints() throws {
    var world = World(nodes: 2, cores: 2, gpus: 1, properties: ["p": [1]])
    try world.add(1, 100) {
      $0.constraints = .properties(["p"]); $0.gpusPerTask = 1
    }
    try world.add(2, 10) {
      $0.constraints = .properties(["p"]); $0.gpusPerTask = 1
    }
    try world.add(3, 200) { $0.constraints = .properties(["p"]) }
    try world.add(4, 0) { $0.gpusPerTask = 1 }
    try world.add(5, 0) { $0.gpusPerTask = 1 }
    // What job 2 needs is the gpu of node 1 and one of its cores; job 3 may have the other one.
    #expect(world.run(at: 0) == [1, 3, 4])
    #expect(world.start(3)?.resources.rankSet == [1] && world.start(4)?.resources.rankSet == [0])
    #expect(world.waits?.id == 2 && world.waits?.start == 100)
    #expect(world.reservation?.resources.rankSet == [1] && world.reservation?.resources.gpuCount == 1)
    world.end(1)
    #expect(world.run(at: 100) == [2])
  }

  /// What is said of all nodes at once is what is said of each.
  @Test(
    arguments: [
      [:], ["and": []], ["or": []], ["not": []], ["properties": []], ["hostlist": []], ["ranks": []],
      ["properties": ["p"]], ["properties": ["^p"]], ["properties": ["n2"]], ["properties": ["p", "^n2"]],
      ["properties": ["none"]], ["hostlist": ["n[1-3,9]"]], ["ranks": ["0-1", "4-100"]],
      ["not": [["properties": ["p"]], ["ranks": ["1-2"]]]],
      ["or": [["hostlist": ["n0"]], ["and": [["properties": ["p"]], ["not": [["ranks": ["2"]]]]]]]],
    ] as [JSON]) func nodesOfAConstraint(_ json: JSON) throws
  {
    let world = World(nodes: 6, properties: ["p": [1, 2, 3], "far": [17]])
    let constraint = try Constraint(json)
    let cluster = world.scheduler.cluster
    let expected = cluster.all.ranks.filter { node in
      constraint.matches(rank: node.rank, host: node.host) {
        cluster.all.properties[$0]?.contains(node.rank) ?? false
      }
    }
    #expect(cluster.nodes(matching: constraint) == IDSet(expected.map(\.rank)))
  }

  /// A pass looks at many jobs, and at many nodes for each: what a constraint says of them is known by then.
  @Test(.timeLimit(.minutes(5))) func manyWithLongConstraintsWaitAtOnce() throws {
    var world = World(nodes: 20_000, cores: 1)
    try world.add(1, cores: 20_000)
    #expect(world.run(at: 0) == [1])
    let hosts = Hostlist((0..<1000).map { "other\($0)" } + ["n19999"])
    for id in 2..<60 {
      try world.add(UInt64(id)) {
        $0.constraints = .and(Array(repeating: .or([.hostlist(hosts), .ranks([id])]), count: 2))
      }
    }
    world.end(1)
    #expect(world.run(at: 1) == (2..<60).map(UInt64.init))
  }

  @Test func aNodeThatIsDownHoldsNobodyUp() throws {
    var world = World(nodes: 2, cores: 2)
    world.scheduler.setDown([1])
    try world.add(1, 10) { ($0.nodes, $0.tasks) = (2, 2) }
    try world.add(2)
    #expect(world.run(at: 0) == [2] && world.reservation == nil)
    world.scheduler.setDown([])
    #expect(world.run(at: 0) == [1])
  }

  @Test func queuesDoNotCrowdEachOtherOut() throws {
    var world = World(nodes: 2, cores: 1, properties: ["a": [0], "b": [1]])
    for id in 1...1000 {
      try world.add(UInt64(id), 10, queue: "a") { $0.constraints = .properties(["a"]) }
    }
    try world.add(2000, queue: "b") { $0.constraints = .properties(["b"]) }
    #expect(world.run(at: 0) == [1, 2000])
    // Jobs of a queue that is stopped are taken out, and reserve nothing.
    world.scheduler.remove(JobID(rawValue: 2))
    #expect(world.run(at: 0) == [] && world.waits?.id == 3 && world.waits?.start == 10)
  }

  /// With ends that are known exactly, and whatever comes behind: nobody gets what another has, the first that waits starts no later than it was
  /// told once, and all run.
  @Test(arguments: 0..<200) func noReservationIsPostponed(_ seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let nodes = Int.random(in: 1...4, using: &random)
    let cores = Int.random(in: 1...4, using: &random)
    var world = World(nodes: nodes, cores: cores, gpus: 1, properties: ["p": IDSet(0..<max(1, nodes / 2))])
    var ends: [UInt64: Double] = [:]
    var promised: [UInt64: Double] = [:]
    var time = 0.0
    var submitted: UInt64 = 0
    while submitted < 40 || !ends.isEmpty {
      // The next thing that happens: an end, or some more submissions.
      let next = ends.values.min()
      if submitted < 40, next == nil || Bool.random(using: &random) {
        time = min(next ?? time, time + Double.random(in: 0..<5, using: &random))
        for _ in 0..<Int.random(in: 1...5, using: &random) {
          submitted += 1
          // One that goes to the front changes what those behind it were told.
          if try add(submitted, to: &world, nodes, cores, &random) { promised = [:] }
        }
      } else if let next {
        time = next
      }
      for (id, end) in ends where end <= time {
        world.end(id)
        ends[id] = nil
      }
      for id in world.run(at: time) {
        let start = try #require(world.start(id))
        ends[id] = start.resources.expiration
        if let promise = promised[id] { #expect(time <= promise, "job \(id) started at \(time)") }
      }
      let taken = world.scheduler.cluster.allocated
      #expect(taken.coreCount == world.taken(of: ends.keys, \.coreCount))
      #expect(taken.gpuCount == world.taken(of: ends.keys, \.gpuCount))
      if let waits = world.waits, let start = waits.start {
        #expect(start <= promised[waits.id] ?? .infinity, "job \(waits.id) was told \(promised[waits.id] ?? 0) before")
        promised[waits.id] = start
      }
    }
    #expect(world.scheduler.pendingCount == 0 && world.starts.count == Int(submitted))
    #expect(world.scheduler.cluster.allocated.isEmpty)
  }

  /// Returns whether the job goes to the front.
  private func add(
    _ id: UInt64, to world: inout World, _ nodes: Int, _ cores: Int, _ random: inout SplitMix64
  ) throws -> Bool {
    let isUrgent = Int.random(in: 0..<10, using: &random) == 0
    let duration = Double.random(in: 1..<20, using: &random).rounded()
    try world.add(id, duration, priority: isUrgent ? 17 : 16) { request in
      switch Int.random(in: 0..<5, using: &random) {
      case 0:
        request.nodes = Int.random(in: 1...nodes, using: &random)
        request.tasks = request.nodes ?? 1
        request.exclusive = Bool.random(using: &random)
      case 1: request.constraints = .properties(["p"])
      case 2: request.gpusPerTask = 1
      default: request.tasks = Int.random(in: 1...(nodes * cores), using: &random)
      }
    }
    return isUrgent
  }

  /// What others see of it: a job before one that waits, and when that starts.
  @Test func theEstimateIsShown() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let first = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sleep", "60"], duration: 600))
      let waits = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"], tasks: 2))
      let short = try await InstanceTests.submit(connection, InstanceTests.jobspec(["true"], duration: 5))
      let events = try await InstanceTests.events(connection, short)
      let annotation = events.first { $0.name == "alloc" }?.context?["annotations"]?["sched"]
      #expect(annotation?["backfill"]?.stringValue == waits.encoded(.f58))
      let estimate = { () async throws -> JSON? in
        let request: JSON = ["id": waits.json, "attrs": ["annotations"]]
        return try await connection.rpc("job-list.list-id", request)["job"]?["annotations"]?["sched"]
      }
      let end = try await connection.rpc("job-list.list-id", ["id": first.json, "attrs": ["expiration"]])
      #expect(try await estimate() == ["t_estimate": try #require(end["job"]?["expiration"])])
      // It has none any more when it is held, and when it has started.
      try await connection.rpc("job-manager.urgency", ["id": waits.json, "urgency": 0])
      #expect(try await estimate() == nil)
      try await connection.rpc("job-manager.urgency", ["id": waits.json, "urgency": 16])
      try await connection.rpc("job-manager.raise", ["id": first.json, "type": "cancel", "severity": 0])
      _ = try await InstanceTests.events(connection, waits)
      #expect(try await estimate() == ["resource_summary": "rank0/core[0-1]"])
    }
  }

  /// However many wait, no more than ``Scheduler/depth`` are looked at to start one.
  @Test func manyThatWaitCostNoMore() throws {
    var times: [Int: Duration] = [:]
    for count in [1000, 20_000] {
      var world = World(nodes: 64, cores: 4)
      let clock = ContinuousClock()
      for id in 1...count { try world.add(UInt64(id), cores: 1 + id % 7, 10 + Double(id % 50)) }
      var running = world.run(at: 0)
      times[count] = try clock.measure {
        for step in 0..<200 {
          world.end(try #require(running.first))
          running.removeFirst()
          running += world.run(at: Double(step) / 100)
        }
      }
    }
    let few = try #require(times[1000])
    let many = try #require(times[20_000])
    print("200 ends with 1000 jobs that wait: \(few), with 20000: \(many)")
    #expect(many < few * 10, "\(few), \(many)")
  }
}

extension SchedulerTests.World {
  fileprivate func taken(of ids: some Sequence<UInt64>, _ count: (ResourceSet) -> Int) -> Int {
    ids.reduce(0) { $0 + (start($1).map { count($0.resources) } ?? 0) }
  }
}
