// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire

/// A constraint of `job-list.list`: which jobs are wanted.
indirect enum JobFilter {
  case all([JobFilter])
  case any([JobFilter])
  case none([JobFilter])
  case userID(Set<Int64>)
  case name(Set<String>)
  case queue(Set<String>)
  case states(Int)
  case results(Int)
  case hosts(Set<String>)
  case ranks(IDSet)
  case time(String, [(comparison: String, value: Double)])

  private static let maximumDepth = 32
  /// The most operators and values in a constraint: many of them are looked at for each job.
  static let maximumTerms = Constraint.maximumTerms

  /// - Throws: EINVAL with what is wrong.
  init(_ json: JSON?) throws(ServiceError) {
    var terms = 0
    try self.init(json, depth: 0, &terms)
  }

  private init(_ json: JSON?, depth: Int, _ terms: inout Int) throws(ServiceError) {
    guard depth < Self.maximumDepth else { throw ServiceError(.invalid, "the constraint is nested too deeply") }
    guard let json, let object = json.objectValue, let key = object.keys.first else {
      self = .all([])
      return
    }
    guard object.count == 1 else { throw ServiceError(.invalid, "a constraint has one operator") }
    let values = object[key]?.arrayValue ?? []
    terms += values.count
    guard terms <= Self.maximumTerms else {
      throw ServiceError(.invalid, "a constraint may have \(Self.maximumTerms) operands and values")
    }
    let texts = Set(values.compactMap(\.stringValue))
    switch key {
    case "and": self = .all(try Self.list(values, depth, &terms))
    case "or": self = .any(try Self.list(values, depth, &terms))
    case "not": self = .none(try Self.list(values, depth, &terms))
    case "userid": self = .userID(Set(values.compactMap(\.intValue)))
    case "name": self = .name(texts)
    case "queue": self = .queue(texts)
    case "states": self = .states(try Self.mask(values, states: true))
    case "results": self = .results(try Self.mask(values, states: false))
    case "hostlist": self = .hosts(try Self.hosts(texts))
    case "ranks": self = .ranks(.union(of: texts.compactMap { try? IDSet(parsing: $0) }))
    case let name where name.hasPrefix("t_"): self = .time(name, try values.map(Self.comparison))
    default: throw ServiceError(.invalid, "unknown constraint operator: \(key)")
    }
  }

  /// The hosts of all lists: not more than one list may have.
  private static func hosts(_ texts: Set<String>) throws(ServiceError) -> Set<String> {
    var hosts: Set<String> = []
    var count = 0
    for list in texts.lazy.compactMap({ try? Hostlist(parsing: $0) }) {
      count += list.count
      guard count <= Hostlist.maximumCount else {
        throw ServiceError(.invalid, "the constraint names more than \(Hostlist.maximumCount) hosts")
      }
      hosts.formUnion(list.hosts)
    }
    return hosts
  }

  private static func list(
    _ values: [JSON], _ depth: Int, _ terms: inout Int
  ) throws(ServiceError) -> [JobFilter] {
    var filters: [JobFilter] = []
    for value in values { filters.append(try JobFilter(value, depth: depth + 1, &terms)) }
    return filters
  }

  private static func mask(_ values: [JSON], states: Bool) throws(ServiceError) -> Int {
    var mask = 0
    for value in values {
      if let number = value.intValue {
        mask |= Int(truncatingIfNeeded: number)
      } else if let name = value.stringValue?.lowercased() {
        let found =
          states
          ? JobState.allCases.first { $0.name.lowercased() == name || $0.short.lowercased() == name }?.rawValue
            ?? ["pending": 14, "running": 48, "active": 62][name]
          : JobResult.allCases.first { $0.name.lowercased() == name || $0.short.lowercased() == name }?.rawValue
        guard let found else { throw ServiceError(.invalid, "unknown state or result: \(name)") }
        mask |= found
      }
    }
    return mask
  }

  private static func comparison(_ value: JSON) throws(ServiceError) -> (comparison: String, value: Double) {
    let text = value.stringValue ?? ""
    for symbol in [">=", "<=", ">", "<"] where text.hasPrefix(symbol) {
      if let number = Double(text.dropFirst(symbol.count)) { return (symbol, number) }
    }
    throw ServiceError(.invalid, "a time constraint is a comparison and a number, such as >=123.4")
  }

  func matches(_ job: Job) -> Bool {
    switch self {
    case .all(let filters): return filters.allSatisfy { $0.matches(job) }
    case .any(let filters): return filters.isEmpty || filters.contains { $0.matches(job) }
    case .none(let filters): return !filters.contains { $0.matches(job) }
    case .userID(let ids):
      return ids.contains(Int64(job.userID)) || ids.contains(-1)
        || ids.contains(Int64(UInt32.max))
    case .name(let names): return names.contains(job.name)
    case .queue(let names):
      return names.contains(job.queue ?? "")
    case .states(let mask): return job.state.rawValue & mask != 0
    case .results(let mask): return (job.result?.rawValue ?? 0) & mask != 0
    case .hosts(let hosts): return Self.hosts(of: job)?.contains { hosts.contains($0) } ?? false
    case .ranks(let ranks): return !(Self.ranks(of: job)?.intersection(ranks).isEmpty ?? true)
    case .time(let name, let comparisons): return compare(job, name, comparisons)
    }
  }

  private static func hosts(of job: Job) -> Hostlist? {
    guard let digest = job.digest else { return job.resources?.hostlist }
    return digest.hosts.flatMap { try? Hostlist(parsing: $0) }
  }

  private static func ranks(of job: Job) -> IDSet? {
    guard let digest = job.digest else { return job.resources?.rankSet }
    return digest.ranks.flatMap { try? IDSet(parsing: $0) }
  }

  private func compare(_ job: Job, _ name: String, _ comparisons: [(comparison: String, value: Double)]) -> Bool {
    guard let time = JobSummary(job).time(name) else { return false }
    return comparisons.allSatisfy { comparison, value in
      switch comparison {
      case ">=": time >= value
      case "<=": time <= value
      case ">": time > value
      default: time < value
      }
    }
  }
}
