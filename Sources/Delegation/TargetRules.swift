// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What a target's entry in the configuration changes in the jobs that are sent there.
///
/// ```toml
/// [[delegate]]
/// uri = "ssh://corona189/var/tmp/me/flux-sCMd4I/local-0"
/// queue = { debug = "pdebug", batch = "" }    # renames; "" drops; a string sets it for every job
/// bank = "guests"
/// environment = { OMP_PROC_BIND = "close", LD_PRELOAD = false }    # sets; false drops
/// ```
public struct TargetRules: Hashable, Sendable {
  /// What becomes of a name.
  public enum Change: Hashable, Sendable {
    /// Every job gets this one; an empty string: none.
    case set(String)
    /// Names that are in the table are replaced, by nothing when the new one is empty; others stay.
    case rename([String: String])
  }

  /// The most entries of a table.
  public static let maximumEntries = 256

  /// The queue; nil leaves it.
  public var queue: Change?
  /// The bank; nil leaves it.
  public var bank: Change?
  /// Variables of the environment: a value, or nil to drop it.
  public var environment: [String: String?] = [:]

  /// No changes.
  public init() {}

  /// The keys of a target's table that belong here.
  static let keys: Set<String> = ["queue", "bank", "environment"]

  init(_ table: JSONObject, target: Int) throws(RequestError) {
    queue = try Self.change(table["queue"], "queue", target)
    bank = try Self.change(table["bank"], "bank", target)
    guard let value = table["environment"] else { return }
    guard let variables = value.objectValue, variables.count <= Self.maximumEntries else {
      throw Self.mistake(target, "environment", "a table of at most \(Self.maximumEntries) variables")
    }
    for (name, value) in variables {
      guard !name.isEmpty, !name.contains("="), value.stringValue != nil || value.boolValue == false else {
        throw Self.mistake(target, "environment", "a table of variables, each a string or false")
      }
      environment.updateValue(value.stringValue, forKey: name)
    }
  }

  private static func change(_ value: JSON?, _ key: String, _ target: Int) throws(RequestError) -> Change? {
    guard let value else { return nil }
    if let name = value.stringValue { return .set(name) }
    guard let table = value.objectValue, table.count <= maximumEntries else {
      throw mistake(target, key, "a string, or a table of at most \(maximumEntries) names")
    }
    var names: [String: String] = [:]
    for (name, value) in table {
      guard let new = value.stringValue else { throw mistake(target, key, "a string, or a table of strings") }
      names[name] = new
    }
    return .rename(names)
  }

  private static func mistake(_ target: Int, _ key: String, _ words: String) -> RequestError {
    RequestError("target \(target) of the configuration: '\(key)' is not \(words)")
  }

  // MARK: Carrying them out

  /// Changes a jobspec that is on its way to the target.
  public func apply(to jobspec: inout Jobspec) {
    Self.apply(queue, "queue", &jobspec)
    Self.apply(bank, "bank", &jobspec)
    guard !environment.isEmpty else { return }
    var variables = jobspec.environment
    for (name, value) in environment { variables[name] = value.map { .string($0) } }
    jobspec.set(attribute: "system.environment", to: .object(variables))
  }

  private static func apply(_ change: Change?, _ name: String, _ jobspec: inout Jobspec) {
    let present = jobspec.json.value(at: "attributes.system.\(name)")?.stringValue
    let new: String? =
      switch change {
      case .set(let new): new
      case .rename(let names): present.map { names[$0] ?? $0 }
      case nil: present
      }
    guard new != present else { return }
    if let new, !new.isEmpty {
      jobspec.set(attribute: "system.\(name)", to: .string(new))
    } else {
      jobspec.remove(system: name)
    }
  }
}
