// SPDX-License-Identifier: LGPL-3.0-only

/// A constraint on the nodes of a job (Flux RFC 31).
public indirect enum Constraint: Hashable, Sendable {
  /// All of these properties; one that starts with `^` must be absent. A host name counts as a property of its node.
  case properties([String])
  /// One of these hosts.
  case hostlist(Hostlist)
  /// One of these broker ranks.
  case ranks(IDSet)
  /// Not all of these; without operands it never matches.
  case not([Constraint])
  /// All of these; without operands it always matches.
  case and([Constraint])
  /// At least one of these; without operands it always matches.
  case or([Constraint])

  /// How deep constraints may nest in ``init(_:)`` and ``init(parsingQuery:)``.
  static let depthLimit = 64
  /// The most operands and values in a constraint, all together: each is looked at whenever it is asked which nodes match.
  public static let maximumTerms = 1024
  /// The most hosts in a constraint, all together, as in one list of them: a short text may stand for very many.
  public static let maximumHosts = Hostlist.maximumCount
  /// What a property must not contain (Flux RFC 20; `^` is allowed in front).
  private static let illegalInProperty = "!&'\"`|()"

  /// The constraint of a JSON object with at most one key; `{}` always matches.
  /// - Throws: ``FormatError`` with code `constraint` and, where it has one, the text of Flux.
  public init(_ json: JSON) throws(FormatError) {
    var count = Count()
    try self.init(json, depth: 0, &count)
  }

  /// What a constraint has so far.
  struct Count {
    private var terms = 0
    private var hosts = 0

    fileprivate mutating func add(terms more: Int) throws(FormatError) {
      terms += more
      guard terms <= maximumTerms else {
        throw error("a constraint may have \(maximumTerms) operands and values, not \(terms) or more")
      }
    }

    fileprivate mutating func add(hosts more: Int) throws(FormatError) {
      hosts += more
      guard hosts <= maximumHosts else {
        throw error("a constraint may name \(maximumHosts) hosts, not \(hosts) or more")
      }
    }
  }

  private init(_ json: JSON, depth: Int, _ count: inout Count) throws(FormatError) {
    guard depth < Self.depthLimit else { throw Self.error("constraints nest deeper than \(Self.depthLimit)") }
    guard case .object(let object) = json else { throw Self.error("constraints must be a mapping") }
    guard object.count <= 1 else { throw Self.error("constraint must only contain 1 element") }
    guard let (name, value) = object.first(where: { _ in true }) else {
      self = .and([])
      return
    }
    guard ["properties", "hostlist", "ranks", "not", "and", "or"].contains(name) else {
      throw Self.error("unknown constraint operator '\(name.excerpt)'")
    }
    guard case .array(let values) = value else { throw Self.error("argument to constraint \(name) must be a sequence") }
    try count.add(terms: values.count)
    switch name {
    case "not": self = .not(try Self.operands(values, depth, &count))
    case "and": self = .and(try Self.operands(values, depth, &count))
    case "or": self = .or(try Self.operands(values, depth, &count))
    default: self = try Self.leaf(name, try Self.strings(values, name), &count)
    }
  }

  private static func error(_ message: String) -> FormatError { FormatError(.constraint, message) }

  private static func operands(
    _ values: [JSON], _ depth: Int, _ count: inout Count
  ) throws(FormatError) -> [Constraint] {
    var operands: [Constraint] = []
    for value in values { operands.append(try Constraint(value, depth: depth + 1, &count)) }
    return operands
  }

  private static func strings(_ values: [JSON], _ name: String) throws(FormatError) -> [String] {
    var strings: [String] = []
    for value in values {
      guard let string = value.stringValue else { throw error("values of constraint \(name) must be strings") }
      strings.append(string)
    }
    return strings
  }

  /// The constraint of an operator without nested constraints.
  static func leaf(_ name: String, _ values: [String], _ count: inout Count) throws(FormatError) -> Constraint {
    switch name {
    case "properties":
      for property in values where property.contains(where: { illegalInProperty.contains($0) }) {
        throw error("invalid character in property '\(property.excerpt)'")
      }
      return .properties(values)
    case "hostlist":
      var hosts = Hostlist()
      for value in values {
        let list: Hostlist
        do throws(FormatError) { list = try Hostlist(parsing: value) } catch {
          throw Self.error("invalid hostlist '\(value.excerpt)': \(error.message)")
        }
        try count.add(hosts: list.count)
        hosts.append(contentsOf: list)
      }
      return .hostlist(hosts)
    case "ranks":
      var sets: [IDSet] = []
      for value in values {
        // The words are those of Flux's validator.
        do throws(FormatError) { sets.append(try IDSet(parsing: value)) } catch {
          throw Self.error("IDset(): Invalid argument: \(value.excerpt)")
        }
      }
      return .ranks(.union(of: sets))
    default:
      throw error("unknown constraint operator '\(name.excerpt)'")
    }
  }

  /// The constraint as a JSON object.
  public var json: JSON {
    switch self {
    case .properties(let names): ["properties": .array(names.map(JSON.string))]
    case .hostlist(let hosts): ["hostlist": hosts.isEmpty ? [] : [.string(hosts.description)]]
    case .ranks(let ranks): ["ranks": ranks.isEmpty ? [] : [.string(ranks.description)]]
    case .not(let operands): ["not": .array(operands.map(\.json))]
    case .and(let operands): ["and": .array(operands.map(\.json))]
    case .or(let operands): ["or": .array(operands.map(\.json))]
    }
  }

  /// Whether a node matches; `properties` says whether the node has a property.
  public func matches(rank: Int, host: String, properties: (String) -> Bool) -> Bool {
    func all(_ operands: [Constraint]) -> Bool {
      operands.allSatisfy { $0.matches(rank: rank, host: host, properties: properties) }
    }
    switch self {
    case .properties(let names):
      return names.allSatisfy { name in
        let negated = name.hasPrefix("^")
        let property = negated ? String(name.dropFirst()) : name
        return (property == host || properties(property)) != negated
      }
    case .hostlist(let hosts): return hosts.contains(host)
    case .ranks(let ranks): return ranks.contains(rank)
    case .not(let operands): return !all(operands)
    case .and(let operands): return all(operands)
    case .or(let operands):
      return operands.isEmpty || operands.contains { $0.matches(rank: rank, host: host, properties: properties) }
    }
  }
}
