// SPDX-License-Identifier: LGPL-3.0-only

/// Why there is no connection to an instance, or no longer one.
public struct ConnectionError: Error, Sendable, CustomStringConvertible {
  /// A stable name of the kind of failure.
  public struct Code: Hashable, Sendable {
    /// The name as text.
    public var rawValue: String
    /// There is no socket at the path, or nobody listens on it.
    public static let noSocket = Code(rawValue: "no-socket")
    /// The server, or the socket's permissions, refuse this user.
    public static let refused = Code(rawValue: "refused")
    /// ssh did not get through: login refused, host unknown, host unreachable.
    public static let ssh = Code(rawValue: "ssh")
    /// ssh did not get to the host: it is down, or the network is.
    public static let network = Code(rawValue: "network")
    /// The peer speaks something else than Flux.
    public static let notFlux = Code(rawValue: "not-flux")
    /// The peer accepted and then said nothing for too long.
    public static let silent = Code(rawValue: "silent")
    /// A request had no answer in time; the connection may be fine.
    public static let timedOut = Code(rawValue: "timed-out")
    /// The connection has ended.
    public static let closed = Code(rawValue: "closed")
    /// A limit of this side was reached.
    public static let limit = Code(rawValue: "limit")
  }

  /// The kind of failure.
  public var code: Code
  /// What happened and what to do about it.
  public var message: String
  /// The error beneath, when there is one.
  public var cause: (any Error)?

  /// An error of a kind.
  public init(_ code: Code, _ message: String, cause: (any Error)? = nil) {
    self.code = code
    self.message = message
    self.cause = cause
  }

  /// The message.
  public var description: String { message }

  /// Whether trying again soon could succeed without anybody changing something.
  public var isTransient: Bool {
    switch code {
    case .silent, .timedOut, .closed, .limit, .network: true
    default: false
    }
  }
}
