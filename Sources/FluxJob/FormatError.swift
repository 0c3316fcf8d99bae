// SPDX-License-Identifier: LGPL-3.0-only

/// The error of every parser of this module: which format, what was wrong, and where.
public struct FormatError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The format that was violated: a stable, machine-readable name.
  public struct Code: RawRepresentable, Hashable, Sendable {
    /// The stable name, for example `json` or `job-id`.
    public var rawValue: String

    /// A code with the given stable name.
    public init(rawValue: String) { self.rawValue = rawValue }

    /// JSON text (RFC 8259).
    public static let json = Code(rawValue: "json")
    /// A job id (Flux RFC 19).
    public static let jobID = Code(rawValue: "job-id")
    /// An idset (Flux RFC 22).
    public static let idset = Code(rawValue: "idset")
    /// A hostlist (Flux RFC 29).
    public static let hostlist = Code(rawValue: "hostlist")
    /// A resource set, R version 1 (Flux RFC 20).
    public static let resourceSet = Code(rawValue: "R")
    /// An eventlog or one of its entries (Flux RFC 18).
    public static let eventlog = Code(rawValue: "eventlog")
    /// A jobspec, version 1 (Flux RFC 14 and 25).
    public static let jobspec = Code(rawValue: "jobspec")
    /// A Flux standard duration (Flux RFC 23).
    public static let duration = Code(rawValue: "fsd")
    /// A Flux instance URI.
    public static let uri = Code(rawValue: "uri")
    /// A job dependency (Flux RFC 26).
    public static let dependency = Code(rawValue: "dependency")
    /// A job constraint or constraint query (Flux RFC 31 and 35).
    public static let constraint = Code(rawValue: "constraint")
    /// A signed jobspec, J.
    public static let signedJobspec = Code(rawValue: "J")
    /// A task map (Flux RFC 34).
    public static let taskmap = Code(rawValue: "taskmap")
    /// Base64 (RFC 4648).
    public static let base64 = Code(rawValue: "base64")
  }

  /// The format that was violated.
  public var code: Code
  /// What was wrong, in words for a user.
  public var message: String
  /// Where in the input, in UTF-8 bytes from its start; nil if the defect has no position.
  public var offset: Int?

  /// An error of the given format, with an optional position in UTF-8 bytes.
  public init(_ code: Code, _ message: String, offset: Int? = nil) {
    self.code = code
    self.message = message
    self.offset = offset
  }

  /// The message, followed by ` (at offset N)` if there is a position.
  public var description: String {
    guard let offset else { return message }
    return "\(message) (at offset \(offset))"
  }
}

extension StringProtocol {
  /// The text for an error message, cut off after 100 characters.
  var excerpt: String {
    let end = index(startIndex, offsetBy: 100, limitedBy: endIndex) ?? endIndex
    return end == endIndex ? String(self) : self[..<end] + "..."
  }
}
