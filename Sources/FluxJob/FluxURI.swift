// SPDX-License-Identifier: LGPL-3.0-only

/// The address of a Flux instance: `local:///path/to/socket` or `ssh://[user@]host[:port]/path/to/socket`.
///
/// The words of an ssh address are parsed again by the remote shell, so only harmless characters are accepted in them.
public struct FluxURI: Hashable, Sendable {
  /// How to get to the socket.
  public enum Scheme: String, Sendable, Hashable, CaseIterable {
    /// A Unix socket on this host.
    case local
    /// A Unix socket on another host, through ssh and `flux relay`.
    case ssh
  }

  /// The longest URI that is accepted, in bytes.
  public static let maximumBytes = 4096
  /// The longest path of a local socket, in bytes (that of `sockaddr_un` on Linux, without the NUL).
  public static let maximumLocalPathBytes = 107

  /// How to get to the socket.
  public var scheme: Scheme
  /// The user on the other host, nil if not given or for a local socket.
  public var user: String?
  /// The other host, nil for a local socket.
  public var host: String?
  /// The port of ssh, 1 to 65535, nil if not given or for a local socket.
  public var port: Int?
  /// The absolute path of the socket.
  public var path: String

  /// The address of a local socket at an absolute path, which is not checked.
  public init(local path: String) {
    scheme = .local
    self.path = path
  }

  /// Parses an address; it is taken literally, without percent-decoding.
  /// - Throws: ``FormatError`` with code `uri`; the message says what is wrong and what to write.
  public init(parsing text: String) throws(FormatError) {
    guard text.utf8.count <= Self.maximumBytes else {
      throw FormatError(.uri, "URI of \(text.utf8.count) bytes: more than \(Self.maximumBytes) are not accepted")
    }
    let parts = try Self.split(text)
    scheme = parts.scheme
    path = parts.path
    switch parts.scheme {
    case .local: try Self.check(local: parts.authority, path: parts.path)
    case .ssh:
      try parse(authority: parts.authority)
      try Self.check(remotePath: parts.path)
    }
  }

  private static let hint = "write local:///path/to/socket or ssh://host/path/to/socket"

  private static func split(_ text: String) throws(FormatError) -> (scheme: Scheme, authority: String, path: String) {
    let bytes = Array(text.utf8)
    if let offset = bytes.firstIndex(where: { $0 < 0x20 || $0 == 0x7F }) {
      throw FormatError(.uri, "control character in the URI", offset: offset)
    }
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")), bytes[colon...].starts(with: "://".utf8) else {
      throw FormatError(.uri, "'\(text.excerpt)' has no scheme: \(hint)")
    }
    let name = String(decoding: bytes[..<colon], as: UTF8.self)
    guard let scheme = Scheme(rawValue: name) else {
      throw FormatError(.uri, "unknown scheme '\(name.excerpt)': \(hint)")
    }
    if let offset = bytes.firstIndex(where: { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }) {
      throw FormatError(.uri, "a URI with query or fragment is not supported: \(hint)", offset: offset)
    }
    let rest = bytes[(colon + 3)...]
    let slash = rest.firstIndex(of: UInt8(ascii: "/")) ?? rest.endIndex
    return (scheme, String(decoding: rest[..<slash], as: UTF8.self), String(decoding: rest[slash...], as: UTF8.self))
  }

  private static func check(local authority: String, path: String) throws(FormatError) {
    guard authority.isEmpty else {
      throw FormatError(
        .uri,
        "the path of a local socket is absolute: write local:///\((authority + path).excerpt), with three slashes",
        offset: 8)
    }
    guard path.utf8.count > 1 else { throw FormatError(.uri, "no path: write local:///path/to/socket") }
    guard path.utf8.count <= maximumLocalPathBytes else {
      throw FormatError(
        .uri, "socket path of \(path.utf8.count) bytes: the system allows \(maximumLocalPathBytes)", offset: 8)
    }
  }

  private static func check(remotePath path: String) throws(FormatError) {
    guard path.utf8.count > 1 else { throw FormatError(.uri, "no path: write ssh://host/path/to/socket") }
    guard path.utf8.allSatisfy({ isSafe($0) || "/+=:,@%".utf8.contains($0) }) else {
      throw FormatError(
        .uri, "the path '\(path.excerpt)' contains a space or another character that the remote shell would interpret")
    }
  }

  private mutating func parse(authority: String) throws(FormatError) {
    var rest = authority[...]
    if let at = rest.lastIndex(of: "@") {
      user = try Self.checkedName(rest[..<at], "user")
      rest = rest[rest.index(after: at)...]
    }
    if let colon = rest.firstIndex(of: ":") {
      let digits = rest[rest.index(after: colon)...]
      guard digits.utf8.count <= 5, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = Int(digits),
        (1...65535).contains(port)
      else { throw FormatError(.uri, "invalid port '\(digits.excerpt)': a port is a number from 1 to 65535") }
      self.port = port
      rest = rest[..<colon]
    }
    guard !rest.isEmpty else { throw FormatError(.uri, "no host: write ssh://host/path/to/socket") }
    host = try Self.checkedName(rest, "host")
  }

  private static func checkedName(_ name: Substring, _ what: String) throws(FormatError) -> String {
    guard !name.isEmpty else { throw FormatError(.uri, "empty \(what): write ssh://user@host/path/to/socket") }
    guard name.utf8.first != UInt8(ascii: "-") else {
      throw FormatError(.uri, "the \(what) '\(name.excerpt)' starts with '-': ssh would take it for an option")
    }
    guard name.utf8.allSatisfy(isSafe) else {
      throw FormatError(
        .uri, "the \(what) '\(name.excerpt)' contains a character other than letters, digits, '.', '_' and '-'")
    }
    return String(name)
  }

  /// Whether no shell gives the character a meaning.
  private static func isSafe(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
      true
    default: false
    }
  }
}

extension FluxURI: CustomStringConvertible {
  /// The URI as text.
  public var description: String {
    var authority = host ?? ""
    if let user { authority = "\(user)@\(authority)" }
    if let port { authority += ":\(port)" }
    return "\(scheme.rawValue)://\(authority)\(path)"
  }
}
