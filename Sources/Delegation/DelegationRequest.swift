// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What the owner of a job wrote: where it shall run, and how its two halves are tied.
///
/// The plugin checks it at submission and the agent reads it again from the job's own record, so both sides agree on its meaning.
public struct DelegationRequest: Hashable, Sendable {
  /// How a target is chosen.
  public enum Selection: Hashable, Sendable {
    /// Exactly the instance with this URI.
    case uri(FluxURI)
    /// Any configured target.
    case random
    /// The configured target with this number, from 0.
    case index(Int)
    /// The configured target with this label.
    case label(String)
    /// The configured target with the fewest pending jobs now.
    case leastPending
    /// The configured target whose scheduler matches fastest.
    case shortestMatch
    /// The targets of the request's own list, in its order.
    case inOrder

    /// Whether there can be more than one target, so that another is tried when one fails.
    public var hasAlternatives: Bool {
      switch self {
      case .uri, .index, .label: false
      case .random, .leastPending, .shortestMatch, .inOrder: true
      }
    }
  }

  /// How the origin job follows the remote one.
  public enum Mode: String, Hashable, Sendable, CaseIterable {
    /// The origin job ends as soon as the target has accepted it; what `--dependency=delegate:VALUE` means.
    case handOff = "hand-off"
    /// The origin job starts and ends with the remote one, and shows its output; what the attribute `system.delegate` means.
    case mirror
  }

  /// The longest value in bytes. A URI of a socket has at most 107 bytes of path; the rest is host and user.
  public static let maximumLength = 4096
  /// The scheme of the dependency form.
  public static let scheme = "delegate"
  /// The attribute form, as a path in the jobspec.
  public static let attribute = "attributes.system.delegate"
  /// How many targets are tried unless the request says otherwise.
  public static let defaultAttempts = 4
  /// The most targets that a request may have tried, and may list.
  public static let maximumAttempts = 64
  /// The description of the dependency that holds the job.
  public static let dependencyDescription = "delegated"

  /// The description of the prolog that a mirrored job is in while its remote job runs: job-exec has nothing to do with it.
  public static let prologDescription = "delegate"
  /// The description of the epilog that keeps a job which was ended, until no copy of it is left.
  public static let epilogDescription = "delegate"
  /// The types of the exceptions with which a delegation itself ends a job.
  public static let endings: Set<String> = ["DelegationSuccess", "DelegationFailure"]

  /// How a target is chosen.
  public var selection: Selection
  /// How the origin job follows the remote one.
  public var mode: Mode
  /// The labels or URIs of the targets that a policy may choose from; all configured ones when empty.
  public var targets: [String]
  /// How many targets are tried, one after the other.
  public var attempts: Int
  /// What becomes of it when its target cannot be seen; nil: what the target's entry in the configuration says.
  public var delivery: Delivery?
  /// How long a target may be out of sight, in seconds; nil: what the target's entry says.
  public var patience: Double?
  /// What becomes of the remote job when the origin ends for good; nil: what the target's entry says.
  public var orphans: Orphans?

  /// A request from its parts.
  public init(
    selection: Selection, mode: Mode, targets: [String] = [], attempts: Int = defaultAttempts,
    delivery: Delivery? = nil, patience: Double? = nil, orphans: Orphans? = nil
  ) {
    self.selection = selection
    self.mode = mode
    self.targets = targets
    self.attempts = attempts
    self.delivery = delivery
    self.patience = patience
    self.orphans = orphans
  }

  /// The request in a dependency of scheme `delegate` (RFC 26), a hand-off unless its option `mode` says otherwise.
  ///
  /// - Throws: ``RequestError``, whose message says what to write.
  public init(dependency: Dependency) throws(RequestError) {
    for key in dependency.options.keys where !["mode", "delivery", "patience", "orphans"].contains(key) {
      throw RequestError(
        "unknown option '\(Self.excerpt(key))': --dependency=delegate:VALUE takes mode, delivery, patience and orphans")
    }
    self.init(
      selection: try Self.selection(dependency.value),
      mode: try Self.mode(dependency.options["mode"], otherwise: .handOff),
      delivery: try Self.delivery(dependency.options["delivery"]),
      patience: try Self.patience(dependency.options["patience"]),
      orphans: try Self.orphans(dependency.options["orphans"]))
    try checkDelivery()
  }

  /// The request in the attribute `system.delegate`: a string, or a table with the keys `policy`, `targets`, `attempts`, `mode`, `delivery`,
  /// `patience` and `orphans`.
  /// A table with `targets` and no `policy` names targets in the order in which they are tried.
  ///
  /// - Throws: ``RequestError``, whose message says what to write.
  public init(attribute: JSON) throws(RequestError) {
    if let value = attribute.stringValue {
      self.init(selection: try Self.selection(value), mode: .mirror)
      return
    }
    guard let table = attribute.objectValue else {
      throw RequestError(
        "the attribute system.delegate is \(Self.excerpt(attribute.text)), not a string or a table: \(Self.help)")
    }
    for key in table.keys where !Self.keys.contains(key) {
      throw RequestError(
        "unknown key '\(Self.excerpt(key))' in the attribute system.delegate: it has policy, targets, attempts, mode, "
          + "delivery, patience and orphans"
      )
    }
    let targets = try Self.targets(table["targets"])
    let selection: Selection
    if let policy = table["policy"]?.stringValue {
      selection = try Self.selection(policy)
      guard targets.isEmpty || selection.hasAlternatives else {
        throw RequestError(
          "'targets' goes with a policy, and '\(Self.excerpt(policy))' names one target: leave one of them out")
      }
    } else {
      guard table["policy"] == nil, !targets.isEmpty else {
        throw RequestError("the attribute system.delegate has no string 'policy' and no 'targets': \(Self.help)")
      }
      selection = .inOrder
    }
    self.init(
      selection: selection, mode: try Self.mode(table["mode"], otherwise: .mirror), targets: targets,
      attempts: try Self.attempts(table["attempts"]), delivery: try Self.delivery(table["delivery"]),
      patience: try Self.patience(table["patience"]), orphans: try Self.orphans(table["orphans"]))
    try checkDelivery()
  }

  private static let keys: Set<String> = ["policy", "targets", "attempts", "mode", "delivery", "patience", "orphans"]

  /// A job that is to run elsewhere needs an elsewhere.
  private func checkDelivery() throws(RequestError) {
    guard delivery == .atLeastOnce else { return }
    guard selection.hasAlternatives, targets.count != 1, attempts > 1 else {
      throw RequestError(
        "'delivery' is at-least-once, and there is one target to run at: give a policy such as random, or several targets"
      )
    }
  }

  private static func targets(_ value: JSON?) throws(RequestError) -> [String] {
    guard let value else { return [] }
    guard let list = value.arrayValue, (1...maximumAttempts).contains(list.count) else {
      throw RequestError("'targets' is a list of 1 to \(maximumAttempts) labels or URIs")
    }
    var names: [String] = []
    for entry in list {
      guard let name = entry.stringValue else {
        throw RequestError("'targets' has \(excerpt(entry.text)), which is neither a label nor a URI")
      }
      switch try selection(name) {
      case .uri, .label: names.append(name)
      default: throw RequestError("'targets' has '\(excerpt(name))', which is neither a label nor a URI")
      }
    }
    return names
  }

  static func delivery(_ value: JSON?) throws(RequestError) -> Delivery? {
    guard let value else { return nil }
    guard let delivery = value.stringValue.flatMap(Delivery.init(rawValue:)) else {
      throw RequestError("'delivery' is \(excerpt(value.text)): write at-most-once or at-least-once")
    }
    return delivery
  }

  static func orphans(_ value: JSON?) throws(RequestError) -> Orphans? {
    guard let value else { return nil }
    guard let orphans = value.stringValue.flatMap(Orphans.init(rawValue:)) else {
      throw RequestError("'orphans' is \(excerpt(value.text)): write cancel or keep")
    }
    return orphans
  }

  /// A number of seconds, or a duration (RFC 23).
  static func patience(_ value: JSON?) throws(RequestError) -> Double? {
    guard let value else { return nil }
    let seconds = value.doubleValue ?? value.stringValue.flatMap { try? StandardDuration(parsing: $0).seconds }
    guard let seconds, (Delivery.shortestPatience...Delivery.longestPatience).contains(seconds) else {
      throw RequestError("'patience' is \(excerpt(value.text)): write a duration from 1s to 30d, such as 90, 10m or 2h")
    }
    return seconds
  }

  private static func attempts(_ value: JSON?) throws(RequestError) -> Int {
    guard let value else { return defaultAttempts }
    guard let count = value.intValue, (1...Int64(maximumAttempts)).contains(count) else {
      throw RequestError("'attempts' is \(excerpt(value.text)), not a number from 1 to \(maximumAttempts)")
    }
    return Int(count)
  }

  /// The request in a jobspec, or nil when it has none. The attribute counts before a dependency.
  public init?(jobspec: Jobspec) throws(RequestError) {
    if let attribute = jobspec.json.value(at: Self.attribute) {
      try self.init(attribute: attribute)
    } else if let wish = jobspec.dependencies.first(where: { $0.scheme == Self.scheme }) {
      try self.init(dependency: wish)
    } else {
      return nil
    }
  }

  private static func mode(_ value: JSON?, otherwise: Mode) throws(RequestError) -> Mode {
    guard let value else { return otherwise }
    guard let mode = value.stringValue.flatMap(Mode.init(rawValue:)) else {
      throw RequestError("unknown mode \(excerpt(value.text)): write hand-off or mirror")
    }
    return mode
  }

  /// A target that somebody names: by label, number or URI.
  ///
  /// - Throws: ``RequestError`` when it is a policy, or nothing at all.
  public static func target(_ name: String) throws(RequestError) -> Selection {
    switch try selection(name) {
    case .uri(let uri): return .uri(uri)
    case .index(let number): return .index(number)
    case .label(let label): return .label(label)
    case .random, .leastPending, .shortestMatch, .inOrder:
      throw RequestError("'\(excerpt(name))' is no target: write its label, assign:N, or its URI")
    }
  }

  static func selection(_ value: String) throws(RequestError) -> Selection {
    guard value.utf8.count <= maximumLength else {
      throw RequestError(
        "the value has \(value.utf8.count) bytes, more than \(maximumLength) ('\(excerpt(value))'): \(help)")
    }
    switch value {
    case "", "random": return .random
    case "least_pending": return .leastPending
    case "shortest_match": return .shortestMatch
    case "assign": return .index(0)
    default: break
    }
    if value.hasPrefix("assign:") { return try assigned(String(value.dropFirst("assign:".count))) }
    guard value.contains("/") || value.contains(":") else { return .label(try label(value)) }
    do { return .uri(try FluxURI(parsing: value)) } catch {
      throw RequestError("'\(excerpt(value))': \(error.message)")
    }
  }

  private static func assigned(_ value: String) throws(RequestError) -> Selection {
    if !value.isEmpty, value.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
      guard let number = Int(value) else { throw RequestError("assign:\(excerpt(value)): there is no such target") }
      return .index(number)
    }
    return .label(try label(value))
  }

  private static func label(_ value: String) throws(RequestError) -> String {
    guard TargetList.isLabel(value) else { throw RequestError("'\(excerpt(value))' is no label and no URI: \(help)") }
    return value
  }

  static let help =
    "write local:///path/to/socket, ssh://host/path/to/socket, a target's label, assign:N, random, least_pending or "
    + "shortest_match"

  /// The beginning of what a user wrote, short enough for a message of one line.
  static func excerpt(_ text: String) -> String {
    text.count <= 48 ? text : String(text.prefix(45)) + "..."
  }
}

/// A delegation request, or a configuration of targets, that means nothing.
public struct RequestError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The stable name of this error.
  public static let code = "delegate-request"
  /// What was wrong and what to write.
  public var message: String

  init(_ message: String) { self.message = "delegate: " + message }

  /// A target cannot be undrained by hand that the configuration drains.
  public static func drainedByConfiguration(_ name: String) -> RequestError {
    RequestError(
      "\(name) is drained by the configuration: take 'drain' out of its [[delegate]] entry, and load it anew")
  }

  /// More targets are drained by hand than can be.
  public static func tooManyDrained(_ maximum: Int) -> RequestError {
    RequestError("\(maximum) targets are drained already: undrain one")
  }

  /// A target has to be named.
  public static let noTarget = RequestError("name a target: its label, assign:N, or its URI")

  /// The message.
  public var description: String { message }
}
