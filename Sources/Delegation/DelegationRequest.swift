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
  /// The description of the dependency that holds the job.
  public static let dependencyDescription = "delegated"

  /// How a target is chosen.
  public var selection: Selection
  /// How the origin job follows the remote one.
  public var mode: Mode

  /// A request from its parts.
  public init(selection: Selection, mode: Mode) {
    self.selection = selection
    self.mode = mode
  }

  /// The request in a dependency of scheme `delegate` (RFC 26), a hand-off unless its option `mode` says otherwise.
  ///
  /// - Throws: ``RequestError``, whose message says what to write.
  public init(dependency: Dependency) throws(RequestError) {
    for key in dependency.options.keys where key != "mode" {
      throw RequestError("unknown option '\(Self.excerpt(key))': --dependency=delegate:VALUE takes mode=mirror alone")
    }
    self.init(
      selection: try Self.selection(dependency.value),
      mode: try Self.mode(dependency.options["mode"], otherwise: .handOff))
  }

  /// The request in the attribute `system.delegate`: a string, or a table with the keys `policy` and `mode`.
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
    for key in table.keys where key != "policy" && key != "mode" {
      throw RequestError("unknown key '\(Self.excerpt(key))' in the attribute system.delegate: it has policy and mode")
    }
    guard let policy = table["policy"]?.stringValue else {
      throw RequestError("the attribute system.delegate has no string 'policy': \(Self.help)")
    }
    self.init(selection: try Self.selection(policy), mode: try Self.mode(table["mode"], otherwise: .mirror))
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

  private static func selection(_ value: String) throws(RequestError) -> Selection {
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

  /// The message.
  public var description: String { message }
}
