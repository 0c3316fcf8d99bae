// SPDX-License-Identifier: LGPL-3.0-only

extension ResourceSet {
  /// The most ranks that a set may have.
  public static let maximumRankCount = 1 << 20

  /// Parses R as JSON text.
  /// - Throws: ``FormatError`` with code `R`.
  public init(parsing text: String) throws(FormatError) {
    let json: JSON
    do throws(FormatError) {
      json = try JSON(parsing: text)
    } catch {
      throw FormatError(.resourceSet, "R is not JSON: \(error.message)", offset: error.offset)
    }
    try self.init(json)
  }

  /// The set of R as a JSON object. The key `scheduling` is kept, other unknown keys are ignored.
  ///
  /// - Parameter maximumRankCount: the most ranks that it may have, at most 1048576.
  /// - Throws: ``FormatError`` with code `R`: another version, a missing or wrong key, a wrong idset or hostlist, too many
  ///   ranks, or a number of hosts that is neither 0 nor that of the ranks.
  public init(_ json: JSON, maximumRankCount: Int = Self.maximumRankCount) throws(FormatError) {
    guard json.objectValue != nil else { throw Self.error("R is not an object") }
    guard json["version"]?.intValue == 1 else { throw Self.error("R version is not 1") }
    guard let execution = json["execution"], execution.objectValue != nil else {
      throw Self.error("R without an object 'execution'")
    }
    var ranks = try Self.parseRanks(execution["R_lite"], min(maximumRankCount, Self.maximumRankCount))
    try Self.assign(hosts: try Self.parseNodelist(execution["nodelist"]), to: &ranks)
    self.init(
      ranks: ranks, startTime: try Self.parseTime(execution, "starttime"),
      expiration: try Self.parseTime(execution, "expiration"),
      properties: try Self.parseProperties(execution["properties"]))
    if let slots = execution["nslots"] {
      guard let count = slots.intValue, count > 0 else { throw Self.error("'nslots' is not a positive integer") }
      self.slots = Int(count)
    }
    scheduling = json["scheduling"]
  }

  private static func error(_ message: String) -> FormatError { FormatError(.resourceSet, message) }

  private static func parseIDSet(_ json: JSON?, _ name: String) throws(FormatError) -> IDSet {
    guard let text = json?.stringValue else { throw error("\(name) is not an idset string") }
    do throws(FormatError) {
      return try IDSet(parsing: text)
    } catch {
      throw Self.error("\(name): \(error.message)")
    }
  }

  private static func parseRanks(_ json: JSON?, _ limit: Int) throws(FormatError) -> [Rank] {
    guard case .array(let entries)? = json else { throw error("R without an array 'R_lite'") }
    var ranks: [Rank] = []
    for entry in entries {
      let ids = try parseIDSet(entry["rank"], "'rank' of R_lite")
      guard let children = entry["children"], children.objectValue != nil else {
        throw error("entry of R_lite without an object 'children'")
      }
      let cores = children["core"] == nil ? IDSet() : try parseIDSet(children["core"], "'core' of R_lite")
      let gpus = children["gpu"] == nil ? IDSet() : try parseIDSet(children["gpu"], "'gpu' of R_lite")
      guard ids.count <= limit, ranks.count + ids.count <= limit else {
        throw error("R with more than \(limit) ranks")
      }
      ranks.append(contentsOf: ids.map { Rank(rank: $0, host: "", cores: cores, gpus: gpus) })
    }
    return merged(ranks)
  }

  private static func parseNodelist(_ json: JSON?) throws(FormatError) -> Hostlist {
    guard let json else { return Hostlist() }
    guard case .array(let entries) = json else { throw error("'nodelist' is not an array") }
    var hosts = Hostlist()
    for entry in entries {
      guard let text = entry.stringValue else { throw error("entry of 'nodelist' is not a string") }
      do throws(FormatError) {
        hosts.append(contentsOf: try Hostlist(parsing: text))
      } catch {
        throw Self.error("'nodelist': \(error.message)")
      }
      guard hosts.count <= maximumRankCount else { throw error("R with more than \(maximumRankCount) hosts") }
    }
    return hosts
  }

  private static func assign(hosts: Hostlist, to ranks: inout [Rank]) throws(FormatError) {
    guard !hosts.isEmpty else { return }
    guard hosts.count == ranks.count else {
      throw error("R with \(hosts.count) hosts in 'nodelist' but \(ranks.count) ranks in 'R_lite'")
    }
    for position in ranks.indices { ranks[position].host = hosts[position] }
  }

  private static func parseTime(_ execution: JSON, _ key: String) throws(FormatError) -> Double {
    guard let json = execution[key] else { return 0 }
    guard let time = json.doubleValue, time >= 0 else { throw error("'\(key)' is not a time") }
    return time
  }

  private static func parseProperties(_ json: JSON?) throws(FormatError) -> [String: IDSet] {
    guard let json else { return [:] }
    guard case .object(let members) = json else { throw error("'properties' is not an object") }
    var properties: [String: IDSet] = [:]
    for (name, value) in members {
      if let illegal = name.first(where: { "!&'\"^`|()".contains($0) }) {
        throw error("invalid character '\(illegal)' in property '\(name.excerpt)'")
      }
      properties[name] = try parseIDSet(value, "property '\(name.excerpt)'")
    }
    return properties
  }
}

// MARK: - Writing

extension ResourceSet {
  /// The set as R, a JSON object, written as flux-core does: ranks with equal resources share an entry of `R_lite`.
  public var json: JSON {
    var execution: JSONObject = [
      "R_lite": .array(groups.map { Self.entry($0.ranks, $0.children) }),
      "starttime": .double(startTime),
      "expiration": .double(expiration),
    ]
    if let slots { execution["nslots"] = .int(Int64(slots)) }
    // Hosts are mapped to ranks by position, so either all are written or none.
    execution["nodelist"] = [.string(ranks.contains { $0.host.isEmpty } ? "" : hostlist.description)]
    if !properties.isEmpty {
      var members = JSONObject()
      for (name, ids) in properties.sorted(by: { $0.key < $1.key }) { members[name] = .string(ids.description) }
      execution["properties"] = .object(members)
    }
    var object: JSONObject = ["version": 1, "execution": .object(execution)]
    if let scheduling { object["scheduling"] = scheduling }
    return .object(object)
  }

  private struct Children: Hashable {
    var cores: IDSet
    var gpus: IDSet
  }

  /// The ranks of each combination of cores and GPUs, in the order of their first rank.
  private var groups: [(ranks: IDSet, children: Children)] {
    var groups: [(ranks: IDSet, children: Children)] = []
    var positions: [Children: Int] = [:]
    for rank in ranks {
      let children = Children(cores: rank.cores, gpus: rank.gpus)
      if let last = groups.indices.last, groups[last].children == children {
        groups[last].ranks.append(rank.rank...rank.rank)
      } else if let position = positions[children] {
        groups[position].ranks.append(rank.rank...rank.rank)
      } else {
        positions[children] = groups.count
        groups.append((IDSet(rank.rank..<(rank.rank + 1)), children))
      }
    }
    return groups
  }

  private static func entry(_ ranks: IDSet, _ children: Children) -> JSON {
    var members = JSONObject()
    if !children.gpus.isEmpty { members["gpu"] = .string(children.gpus.description) }
    if !children.cores.isEmpty || children.gpus.isEmpty { members["core"] = .string(children.cores.description) }
    return ["rank": .string(ranks.description), "children": .object(members)]
  }
}
