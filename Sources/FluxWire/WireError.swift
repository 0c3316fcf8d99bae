// SPDX-License-Identifier: LGPL-3.0-only

/// What a peer sent that is not a Flux message.
public struct WireError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A stable name of the kind of mistake.
  public struct Code: Hashable, Sendable {
    /// The name as text.
    public var rawValue: String
    /// The frame's header is wrong: the peer speaks something else.
    public static let frame = Code(rawValue: "wire-frame")
    /// The frame is longer than the limit.
    public static let tooLong = Code(rawValue: "wire-too-long")
    /// The message inside the frame is malformed.
    public static let message = Code(rawValue: "wire-message")
    /// The payload is not what its topic calls for.
    public static let payload = Code(rawValue: "wire-payload")
  }

  /// The kind of mistake.
  public var code: Code
  /// What was wrong and where.
  public var message: String

  /// An error of a kind, with words.
  public init(_ code: Code, _ message: String) {
    self.code = code
    self.message = message
  }

  /// The words.
  public var description: String { message }
}
