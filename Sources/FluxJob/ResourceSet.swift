// SPDX-License-Identifier: LGPL-3.0-only

/// A set of resources, R version 1 (Flux RFC 20): for each broker rank a host, cores and GPUs.
public struct ResourceSet: Hashable, Sendable {
  /// The resources of one broker rank.
  public struct Rank: Hashable, Sendable {
    /// The broker rank, 0 to ``IDSet/maximumID``.
    public var rank: Int
    /// The name of its host; empty if unknown.
    public var host: String
    /// The logical numbers of its cores.
    public var cores: IDSet
    /// The logical numbers of its GPUs.
    public var gpus: IDSet

    /// The resources of one broker rank.
    public init(rank: Int, host: String, cores: IDSet, gpus: IDSet = IDSet()) {
      self.rank = rank
      self.host = host
      self.cores = cores
      self.gpus = gpus
    }
  }

  /// The resources of each rank, ordered by rank, each rank once.
  ///
  /// Setting sorts, and merges ranks with the same number.
  public var ranks: [Rank] {
    get { sortedRanks }
    set { sortedRanks = Self.merged(newValue) }
  }
  private var sortedRanks: [Rank]
  /// When the set becomes valid, in seconds since 1970-01-01 UTC; 0 if unset.
  public var startTime: Double
  /// When the set becomes invalid, in seconds since 1970-01-01 UTC; 0 if unset.
  public var expiration: Double
  /// The ranks of each property.
  public var properties: [String: IDSet]
  /// What a scheduler keeps for itself, nil if nothing.
  public var scheduling: JSON?
  /// The number of slots of an allocation, nil if unknown.
  public var slots: Int?

  /// A set of the given ranks; a rank given twice gets the resources of both. Times are seconds since 1970-01-01 UTC.
  public init(ranks: [Rank], startTime: Double = 0, expiration: Double = 0, properties: [String: IDSet] = [:]) {
    sortedRanks = Self.merged(ranks)
    self.startTime = startTime
    self.expiration = expiration
    self.properties = properties
  }

  /// The ranks in order, those with the same number as one.
  static func merged(_ ranks: [Rank]) -> [Rank] {
    var result: [Rank] = []
    result.reserveCapacity(ranks.count)
    for rank in ranks.sorted(by: { $0.rank < $1.rank }) {
      guard let last = result.last, last.rank == rank.rank else {
        result.append(rank)
        continue
      }
      result[result.count - 1].cores.formUnion(rank.cores)
      result[result.count - 1].gpus.formUnion(rank.gpus)
      if last.host.isEmpty { result[result.count - 1].host = rank.host }
    }
    return result
  }

  /// The broker ranks.
  public var rankSet: IDSet { IDSet(ranks.map(\.rank)) }

  /// The hosts, in the order of the ranks; unknown ones are left out.
  public var hostlist: Hostlist { Hostlist(ranks.map(\.host)) }

  /// The number of ranks.
  public var nodeCount: Int { ranks.count }

  /// The number of cores of all ranks.
  public var coreCount: Int { ranks.reduce(0) { Self.sum($0, $1.cores.count) } }

  /// The number of GPUs of all ranks.
  public var gpuCount: Int { ranks.reduce(0) { Self.sum($0, $1.gpus.count) } }

  private static func sum(_ left: Int, _ right: Int) -> Int {
    let (sum, overflow) = left.addingReportingOverflow(right)
    return overflow ? Int.max : sum
  }

  /// Whether there are no ranks.
  public var isEmpty: Bool { ranks.isEmpty }
}

// MARK: - Algebra

extension ResourceSet {
  /// The cores and GPUs that are in either set. Hosts, times, scheduling and slots are those of this set, where it has
  /// them; the properties are those of both.
  public func union(_ other: ResourceSet) -> ResourceSet {
    var result = self
    result.ranks = ranks + other.ranks
    result.properties.merge(other.properties) { $0.union($1) }
    return result
  }

  /// The cores and GPUs that are in this set but not in the other; ranks without any left are dropped, also from the
  /// properties. A rank with neither cores nor GPUs is dropped if the other set has it.
  public func subtracting(_ other: ResourceSet) -> ResourceSet {
    combined(with: other) { rank, opposite in
      guard let opposite else { return rank }
      var rank = rank
      rank.cores.subtract(opposite.cores)
      rank.gpus.subtract(opposite.gpus)
      return rank.cores.isEmpty && rank.gpus.isEmpty ? nil : rank
    }
  }

  /// The cores and GPUs that are in both sets; ranks without any are dropped, also from the properties.
  public func intersection(_ other: ResourceSet) -> ResourceSet {
    combined(with: other) { rank, opposite in
      guard let opposite else { return nil }
      var rank = rank
      rank.cores = rank.cores.intersection(opposite.cores)
      rank.gpus = rank.gpus.intersection(opposite.gpus)
      return rank.cores.isEmpty && rank.gpus.isEmpty ? nil : rank
    }
  }

  private func combined(with other: ResourceSet, _ combine: (Rank, Rank?) -> Rank?) -> ResourceSet {
    var result = self
    result.sortedRanks = []
    var opposite = other.ranks[...]
    for rank in ranks {
      while let first = opposite.first, first.rank < rank.rank { opposite.removeFirst() }
      let match = opposite.first.flatMap { $0.rank == rank.rank ? $0 : nil }
      if let left = combine(rank, match) { result.sortedRanks.append(left) }
    }
    let left = result.rankSet
    result.properties = properties.mapValues { $0.intersection(left) }.filter { !$0.value.isEmpty }
    return result
  }
}
