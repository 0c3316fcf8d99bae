// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Who starts next: by priority, then in order of submission, with EASY backfill. Pure: it has no clock, and starts nothing itself.
///
/// The first job that has to wait gets a reservation: the earliest time at which it fits, by the known ends of what runs, and the resources
/// that it gets then. A job behind it starts before it only if it ends by then, or takes nothing of what is reserved. So none of them
/// delays it.
///
/// - A job without a time limit never ends, as far as anybody knows. When the first has to wait for such jobs, its time is not known: then what it
///   would get is kept for it, and those behind it have what is left.
/// - A job that does not fit while nodes are down reserves nothing and holds nobody up.
struct Scheduler: Sendable {
  /// How many jobs of a queue are looked at in one pass.
  static let depth = 256
  /// How many jobs of all queues are looked at in one pass, if there are no more queues than that.
  static let totalDepth = 4096

  /// A job's place among those that wait.
  struct Rank: Comparable, Sendable {
    var priority: Int64
    var id: JobID

    static func < (left: Rank, right: Rank) -> Bool {
      left.priority > right.priority || (left.priority == right.priority && left.id < right.id)
    }
  }

  /// A job that waits.
  struct Request: Sendable {
    var id: JobID
    var priority: Int64
    /// Its queue; jobs of one queue do not crowd those of another out of a pass.
    var queue = ""
    var demand: VirtualCluster.Demand
    /// Its time limit in seconds; 0 is none.
    var duration: Double

    var rank: Rank { Rank(priority: priority, id: id) }
  }

  /// A job that starts now.
  struct Start: Sendable {
    var id: JobID
    var resources: ResourceSet
    /// The job that waits before it, and is not held up by it.
    var isBefore: JobID?
  }

  /// What is kept for the first job that has to wait.
  struct Reservation: Hashable, Sendable {
    var id: JobID
    /// When it starts at the latest, in seconds since the epoch; nil when that depends on jobs without a time limit. In the past when a job
    /// has not ended with its time.
    var start: Double?
    var resources: ResourceSet
  }

  /// What a pass has decided.
  struct Pass: Sendable {
    var starts: [Start] = []
    var reservation: Reservation?
  }

  private struct Allocation: Sendable {
    var resources: ResourceSet
    /// When its time is over; infinity without a limit.
    var end: Double
  }

  private(set) var cluster: VirtualCluster
  private var queues: [String: PendingJobs] = [:]
  private var places: [JobID: String] = [:]
  private var running: [JobID: Allocation] = [:]
  /// The last reservation, as long as nothing that it depends on changes.
  private var reserved: (request: Request, reservation: Reservation)?

  init(_ cluster: VirtualCluster) { self.cluster = cluster }

  // MARK: What happens

  /// How many wait.
  var pendingCount: Int { places.count }

  /// Whether somebody waits who is not held.
  var hasWork: Bool { queues.values.contains { $0.first?.priority ?? 0 > 0 } }

  func contains(_ id: JobID) -> Bool { places[id] != nil }

  /// A job waits from now on, or again with other wishes.
  mutating func add(_ request: Request) {
    remove(request.id)
    var request = request
    request.demand = cluster.resolved(request.demand)
    places[request.id] = request.queue
    queues[request.queue, default: PendingJobs()].insert(request)
  }

  /// A job waits no more.
  mutating func remove(_ id: JobID) {
    guard let queue = places.removeValue(forKey: id) else { return }
    queues[queue]?.remove(id)
    if queues[queue]?.isEmpty == true { queues[queue] = nil }
    if reserved?.request.id == id { reserved = nil }
  }

  /// A job has resources; an end of 0 is none.
  mutating func take(_ resources: ResourceSet, for id: JobID, until end: Double) {
    reserved = nil
    cluster.take(resources)
    running[id] = Allocation(resources: resources, end: end > 0 ? end : .infinity)
  }

  /// A job's resources are free.
  mutating func release(_ id: JobID) {
    guard let allocation = running.removeValue(forKey: id) else { return }
    reserved = nil
    cluster.release(allocation.resources)
  }

  /// A job's time ends at another time than was known; 0 is never.
  mutating func limit(_ id: JobID, until end: Double) {
    guard running[id] != nil else { return }
    reserved = nil
    running[id]?.end = end > 0 ? end : .infinity
  }

  /// Which nodes get no more jobs.
  mutating func setDown(_ ranks: IDSet) {
    reserved = nil
    cluster.down = ranks
  }

  // MARK: Who starts

  /// Decides who starts now, and takes the resources for them. Whoever asks asks again when somebody has started: more may be
  /// looked at then.
  mutating func pass(at now: Double) -> Pass {
    var pass = Pass()
    // Resources only get fewer in a pass: what did not fit need not be tried again.
    var misfits: Set<VirtualCluster.Demand> = []
    var spare = Spare()
    for request in window() {
      if let reservation = pass.reservation {
        guard cluster.freeCores > 0 else { break }
        guard let found = spare.fill(request, reservation, cluster, at: now) else { continue }
        start(request, found, before: reservation.id, at: now, &pass)
        spare.cluster?.take(found)
      } else if !misfits.contains(request.demand), let found = cluster.place(request.demand) {
        start(request, found, before: nil, at: now, &pass)
      } else if misfits.insert(request.demand).inserted {
        guard let reservation = reserve(request) else { continue }
        pass.reservation = reservation
        spare = Spare(cluster, without: reservation.resources)
      }
    }
    return pass
  }

  /// The first jobs of all queues, in order. Those that are held are not among them.
  private func window() -> [Request] {
    let share = max(1, min(Self.depth, Self.totalDepth / max(queues.count, 1)))
    var found: [Request] = []
    for queue in queues.values { found += queue.prefix(share).prefix { $0.priority > 0 } }
    return queues.count > 1 ? found.sorted { $0.rank < $1.rank } : found
  }

  private mutating func start(
    _ request: Request, _ found: ResourceSet, before waiting: JobID?, at now: Double, _ pass: inout Pass
  ) {
    var found = found
    found.slots = request.demand.slots
    found.startTime = now
    found.expiration = request.duration > 0 ? now + request.duration : 0
    remove(request.id)
    take(found, for: request.id, until: found.expiration)
    pass.starts.append(Start(id: request.id, resources: found, isBefore: waiting))
  }

  /// The reservation of a job that has to wait; nil when it does not fit even when all others have ended.
  private mutating func reserve(_ request: Request) -> Reservation? {
    if let reserved, reserved.request.id == request.id { return reserved.reservation }
    guard let (start, resources) = earliest(request.demand) else { return nil }
    let reservation = Reservation(id: request.id, start: start.isFinite ? start : nil, resources: resources)
    reserved = (request, reservation)
    return reservation
  }

  /// The earliest time at which something fits, when what runs ends as is known, and what it gets then.
  private func earliest(_ demand: VirtualCluster.Demand) -> (Double, ResourceSet)? {
    let ends = running.values.sorted { $0.end < $1.end }
    let times = ends.map(\.end).reduce(into: [Double]()) { if $0.last != $1 { $0.append($1) } }
    func found(at time: Double) -> ResourceSet? {
      var later = cluster
      for allocation in ends.prefix(while: { $0.end <= time }) { later.release(allocation.resources) }
      return later.place(demand)
    }
    guard let last = times.last, var best = found(at: last) else { return nil }
    // What fits at one time fits at every later one.
    var low = 0
    var high = times.count - 1
    while low < high {
      let middle = (low + high) / 2
      if let resources = found(at: times[middle]) { (high, best) = (middle, resources) } else { low = middle + 1 }
    }
    return (times[low], best)
  }

  /// What jobs behind the first that waits can have.
  private struct Spare {
    /// The cluster as if what is reserved were taken; nil before there is a reservation.
    var cluster: VirtualCluster?
    private var misfits: Set<VirtualCluster.Demand> = []
    private var shortMisfits: Set<VirtualCluster.Demand> = []

    init() {}

    init(_ cluster: VirtualCluster, without reserved: ResourceSet) {
      self.cluster = cluster
      self.cluster?.take(reserved)
    }

    /// What a job gets that ends before the reservation, or beside it.
    mutating func fill(
      _ request: Request, _ reservation: Reservation, _ whole: VirtualCluster, at now: Double
    ) -> ResourceSet? {
      let isShort = request.duration > 0 && now + request.duration <= reservation.start ?? -.infinity
      if isShort {
        guard !shortMisfits.contains(request.demand) else { return nil }
        let found = whole.place(request.demand)
        if found == nil { shortMisfits.insert(request.demand) }
        return found
      }
      guard !misfits.contains(request.demand) else { return nil }
      let found = cluster?.place(request.demand)
      if found == nil { misfits.insert(request.demand) }
      return found
    }
  }
}
