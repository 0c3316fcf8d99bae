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
  }

  /// How the origin job follows the remote one.
  public enum Mode: String, Hashable, Sendable {
    /// The origin job ends as soon as the target has accepted it; the form `--dependency=delegate:VALUE`.
    case handOff = "hand-off"
  }

  /// The longest value in bytes. A URI of a socket has at most 107 bytes of path; the rest is host and user.
  public static let maximumLength = 4096
  /// The scheme of the dependency form.
  public static let scheme = "delegate"
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

  /// The request in a dependency of scheme `delegate` (RFC 26).
  ///
  /// - Throws: ``RequestError``, whose message says what to write.
  public init(dependency: Dependency) throws(RequestError) {
    if let key = dependency.options.keys.first {
      throw RequestError("unknown option '\(Self.excerpt(key))': --dependency=delegate:URI takes no options")
    }
    self.init(selection: try Self.selection(dependency.value), mode: .handOff)
  }

  private static func selection(_ value: String) throws(RequestError) -> Selection {
    guard !value.isEmpty else { throw RequestError("the value is empty: \(help)") }
    guard value.utf8.count <= maximumLength else {
      throw RequestError(
        "the value has \(value.utf8.count) bytes, more than \(maximumLength) ('\(excerpt(value))'): \(help)")
    }
    guard value.contains(":") else { throw RequestError("'\(excerpt(value))' is not a URI: \(help)") }
    do { return .uri(try FluxURI(parsing: value)) } catch {
      throw RequestError("'\(excerpt(value))': \(error.message)")
    }
  }

  private static let help = "write --dependency=delegate:local:///path/to/socket or delegate:ssh://host/path/to/socket"

  /// The beginning of what a user wrote, short enough for a message of one line.
  private static func excerpt(_ text: String) -> String {
    text.count <= 48 ? text : String(text.prefix(45)) + "..."
  }
}

/// A delegation request that means nothing.
public struct RequestError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The stable name of this error.
  public static let code = "delegate-request"
  /// What was wrong and what to write.
  public var message: String

  init(_ message: String) { self.message = "delegate: " + message }

  /// The message.
  public var description: String { message }
}
