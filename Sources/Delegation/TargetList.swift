// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// A target: its URI, and the label that it is known by.
public struct Target: Hashable, Sendable {
  /// Where it is.
  public var uri: FluxURI
  /// Its label; nil when it has none.
  public var label: String?

  /// A target from its parts.
  public init(uri: FluxURI, label: String? = nil) {
    self.uri = uri
    self.label = label
  }

  /// What people call it: its label, else its URI.
  public var name: String { label ?? uri.description }
}

/// The targets that an origin's configuration names, under the key `delegate`.
///
/// ```toml
/// [[delegate]]
/// uri = "ssh://corona189/var/tmp/me/flux-sCMd4I/local-0"
/// label = "corona"
/// ```
///
/// The older form `delegate = ["uri", "uri"]` works as well.
public struct TargetList: Hashable, Sendable {
  /// The most targets.
  public static let maximumTargets = 256
  /// The longest label in bytes.
  public static let maximumLabelLength = 64

  /// The targets, in their order.
  public let targets: [Target]
  /// What changes in the jobs that are sent to a target, for those that change something.
  public let rules: [FluxURI: TargetRules]
  /// On what terms targets take jobs, for those that have any.
  public let terms: [FluxURI: TargetTerms]

  /// No targets.
  public init() {
    targets = []
    rules = [:]
    terms = [:]
  }

  /// The targets in an instance's configuration; none when it has no key `delegate`.
  ///
  /// - Throws: ``RequestError``, which names the target by its number and says what is wrong with it.
  public init(configuration: JSON) throws(RequestError) {
    guard let value = configuration["delegate"] else {
      self = TargetList()
      return
    }
    guard let entries = value.arrayValue else {
      throw RequestError("the configuration key 'delegate' is no array: write [[delegate]] with uri and label")
    }
    guard entries.count <= Self.maximumTargets else {
      throw RequestError("the configuration has \(entries.count) targets, more than \(Self.maximumTargets)")
    }
    var targets: [Target] = []
    var labels: Set<String> = []
    var rules: [FluxURI: TargetRules] = [:]
    var terms: [FluxURI: TargetTerms] = [:]
    for (number, entry) in entries.enumerated() {
      let target = try Self.target(entry, number)
      if let label = target.label, !labels.insert(label).inserted {
        throw RequestError("target \(number) of the configuration has the label '\(label)', as another one has")
      }
      if let table = entry.objectValue, table.keys.contains(where: TargetRules.keys.contains) {
        rules[target.uri] = try TargetRules(table, target: number)
      }
      if let table = entry.objectValue, table.keys.contains(where: TargetTerms.keys.contains) {
        terms[target.uri] = try TargetTerms(table, target: number)
      }
      targets.append(target)
    }
    self.targets = targets
    self.rules = rules
    self.terms = terms
  }

  private static func target(_ entry: JSON, _ number: Int) throws(RequestError) -> Target {
    if let text = entry.stringValue { return Target(uri: try uri(text, number)) }
    guard let table = entry.objectValue else {
      throw RequestError("target \(number) of the configuration is neither a URI nor a table")
    }
    let keys = TargetRules.keys.union(TargetTerms.keys).union(["uri", "label"])
    for key in table.keys where !keys.contains(key) {
      throw RequestError(
        "target \(number) of the configuration has the unknown key '\(DelegationRequest.excerpt(key))'")
    }
    guard let text = table["uri"]?.stringValue else {
      throw RequestError("target \(number) of the configuration has no string 'uri'")
    }
    guard let value = table["label"] else { return Target(uri: try uri(text, number)) }
    guard let label = value.stringValue, isLabel(label) else {
      throw RequestError(
        "target \(number) of the configuration has the label \(DelegationRequest.excerpt(value.text)): a label has 1 to "
          + "\(maximumLabelLength) letters, digits, '-', '_' and '.', and is not the name of a policy")
    }
    return Target(uri: try uri(text, number), label: label)
  }

  private static func uri(_ text: String, _ number: Int) throws(RequestError) -> FluxURI {
    do { return try FluxURI(parsing: text) } catch {
      throw RequestError(
        "target \(number) of the configuration: '\(DelegationRequest.excerpt(text))': \(error.message)")
    }
  }

  private static let policies: Set<String> = ["random", "assign", "least_pending", "shortest_match"]

  /// Whether a text can be a label.
  public static func isLabel(_ text: String) -> Bool {
    guard (1...maximumLabelLength).contains(text.utf8.count), !policies.contains(text) else { return false }
    return text.utf8.allSatisfy { byte in
      let character = Character(UnicodeScalar(byte))
      return byte < 0x80 && (character.isLetter || character.isNumber || "-_.".contains(character))
    }
  }

  /// The target with a URI, by its label where the configuration has one.
  public func target(at uri: FluxURI) -> Target { targets.first { $0.uri == uri } ?? Target(uri: uri) }

  /// The target that a selection names by itself; nil for the policies that have to ask.
  ///
  /// - Throws: ``RequestError`` when there is no such target; it names those that there are.
  public func named(_ selection: DelegationRequest.Selection) throws(RequestError) -> Target? {
    switch selection {
    case .uri(let uri): return target(at: uri)
    case .index(let number):
      guard targets.indices.contains(number) else {
        throw RequestError("there is no target \(number): the configuration has \(targets.count), from 0")
      }
      return targets[number]
    case .label(let label):
      guard let target = targets.first(where: { $0.label == label }) else {
        let known = targets.compactMap(\.label).joined(separator: ", ")
        throw RequestError(
          "there is no target '\(label)': the configuration has \(known.isEmpty ? "no labels" : known)")
      }
      return target
    case .random, .leastPending, .shortestMatch, .inOrder:
      guard !targets.isEmpty else {
        throw RequestError(
          "no targets are configured: name one by its URI, local:///path/to/socket or ssh://host/path/to/socket, or configure "
            + "[[delegate]] with uri and label")
      }
      return nil
    }
  }

  /// The targets that a request may go to, in the order of its own list where it has one, else in that of the configuration.
  ///
  /// - Throws: ``RequestError`` when a target is named that does not exist, or none is left to choose from.
  public func candidates(for request: DelegationRequest) throws(RequestError) -> [Target] {
    if request.targets.isEmpty { return try named(request.selection).map { [$0] } ?? targets }
    var candidates: [Target] = []
    for name in request.targets {
      guard let target = try named(try DelegationRequest.selection(name)), !candidates.contains(target) else {
        continue
      }
      candidates.append(target)
    }
    return candidates
  }
}
