// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The nodes that get no more jobs, since when and why: `flux resource drain`. Pure; rules and words are Flux's.
struct DrainedNodes {
  /// Why a node is drained.
  struct Entry: Hashable {
    /// Whole seconds since the epoch, as Flux shows them.
    var timestamp: Double
    var reason: String?
  }

  /// The longest reason, in bytes.
  static let maximumReason = 4096

  private(set) var entries: [Int: Entry] = [:]

  /// All of them.
  var ranks: IDSet { IDSet(entries.keys) }

  /// The ranks that a request names: ranks, or the names of hosts.
  static func targets(_ text: String, of all: ResourceSet) throws(ServiceError) -> IDSet {
    if let ranks = try? IDSet(parsing: text) {
      guard let last = ranks.last else { throw ServiceError(.invalid, "idset is empty") }
      guard last < all.nodeCount else { throw ServiceError(.invalid, "idset is out of range") }
      return ranks
    }
    guard let hosts = try? Hostlist(parsing: text), !hosts.isEmpty else {
      throw ServiceError(.invalid, "invalid targets: \(text)")
    }
    let wanted = Set(hosts)
    let found = all.ranks.filter { wanted.contains($0.host) }
    let unknown = wanted.subtracting(found.map(\.host))
    guard unknown.isEmpty else {
      throw ServiceError(.invalid, "invalid targets: invalid hosts: \(Hostlist(unknown.sorted()))")
    }
    return IDSet(found.map(\.rank))
  }

  /// Drains nodes.
  ///
  /// - Parameter mode: nil refuses nodes that are drained for a reason; `update` leaves these as they are; `overwrite` gives them the new
  ///   reason, and `force-overwrite` also the new time.
  mutating func drain(_ ranks: IDSet, reason: String?, mode: String?, at time: Double) throws(ServiceError) {
    guard [nil, "update", "overwrite", "force-overwrite"].contains(mode) else {
      throw ServiceError(.invalid, "Invalid mode specified")
    }
    guard reason?.utf8.count ?? 0 <= Self.maximumReason else {
      throw ServiceError(.invalid, "a reason has at most \(Self.maximumReason) bytes")
    }
    let before = IDSet(ranks.filter { entries[$0]?.reason != nil })
    if mode == nil, !before.isEmpty {
      throw ServiceError(.exists, "rank\(before.count > 1 ? "s" : "") \(before) already drained")
    }
    for rank in ranks {
      guard let old = entries[rank] else {
        entries[rank] = Entry(timestamp: time.rounded(), reason: reason)
        continue
      }
      if mode == nil || mode == "update", old.reason != nil { continue }
      entries[rank] = Entry(timestamp: mode == "force-overwrite" ? time.rounded() : old.timestamp, reason: reason)
    }
  }

  /// Gives nodes jobs again. Nodes that are not drained are refused, unless there is a mode.
  mutating func undrain(_ ranks: IDSet, mode: String?) throws(ServiceError) {
    guard [nil, "update", "overwrite", "force-overwrite"].contains(mode) else {
      throw ServiceError(.invalid, "invalid undrain mode '\(mode ?? "")' specified")
    }
    let others = IDSet(ranks.filter { entries[$0] == nil })
    if mode == nil, !others.isEmpty {
      throw ServiceError(.exists, "rank\(others.count > 1 ? "s" : "") \(others) not drained")
    }
    for rank in ranks { entries[rank] = nil }
  }

  /// The nodes by time and reason, as `resource.status` shows them.
  var json: JSON {
    var groups: [Entry: [Int]] = [:]
    for (rank, entry) in entries { groups[entry, default: []].append(rank) }
    var json: JSONObject = [:]
    for (entry, ranks) in groups.sorted(by: { $0.value.min() ?? 0 < $1.value.min() ?? 0 }) {
      json[IDSet(ranks).description] = [
        "timestamp": .double(entry.timestamp), "reason": .string(entry.reason ?? ""),
      ]
    }
    return .object(json)
  }

  /// Takes what ``json`` was, for nodes that there are.
  mutating func restore(_ json: JSON, nodes: Int) {
    entries = [:]
    for (ranks, value) in json.objectValue ?? [:] {
      let reason = value["reason"]?.stringValue ?? ""
      let entry = Entry(timestamp: value["timestamp"]?.doubleValue ?? 0, reason: reason.isEmpty ? nil : reason)
      for rank in (try? IDSet(parsing: ranks)) ?? IDSet() where rank < nodes { entries[rank] = entry }
    }
  }
}
