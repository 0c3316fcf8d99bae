// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A service's error response: an errno and, often, its words, of which at most 4 KiB are taken.
public struct RPCError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The errno, as on Linux.
  public var errnum: UInt32
  /// The service's own words; nil when it sent none.
  public var text: String?
  /// What was asked.
  public var topic: String

  /// An error from its parts.
  public init(errnum: UInt32, text: String? = nil, topic: String) {
    self.errnum = errnum
    self.text = text
    self.topic = topic
  }

  /// The error in `response`, or nil when it is a success.
  public init?(_ response: Message) {
    guard response.detail != 0 else { return nil }
    let text = response.text?.cut(to: String.maximumWordsLength)
    let topic = (response.topic ?? "").cut(to: String.maximumWordsLength)
    self.init(errnum: response.detail, text: text?.isEmpty == true ? nil : text, topic: topic)
  }

  /// The service's words, or the errno's.
  public var description: String { text ?? Errnum(errnum).description }
}

/// The errnos that Flux's protocol uses, with Linux's numbers and words (they are the same on every architecture that Flux
/// is built for).
public struct Errnum: Hashable, Sendable, CustomStringConvertible {
  /// The number.
  public var rawValue: UInt32
  /// Takes a number.
  public init(_ rawValue: UInt32) { self.rawValue = rawValue }

  /// EPERM.
  public static let notPermitted = Errnum(1)
  /// ENOENT.
  public static let noEntry = Errnum(2)
  /// ECHILD.
  public static let noChild = Errnum(10)
  /// EAGAIN.
  public static let again = Errnum(11)
  /// EBUSY.
  public static let busy = Errnum(16)
  /// EEXIST.
  public static let exists = Errnum(17)
  /// ENODEV: an infeasible request (Fluxion).
  public static let noDevice = Errnum(19)
  /// EINVAL.
  public static let invalid = Errnum(22)
  /// EPIPE: nobody reads any more.
  public static let brokenPipe = Errnum(32)
  /// ENOSYS: no such service or method.
  public static let notImplemented = Errnum(38)
  /// ENODATA: the normal end of a stream.
  public static let noData = Errnum(61)
  /// EPROTO: a malformed request.
  public static let protocolError = Errnum(71)
  /// EOVERFLOW: an infeasible request (sched-simple).
  public static let overflow = Errnum(75)
  /// ENOTSUP: no such KVS namespace.
  public static let notSupported = Errnum(95)
  /// ECONNRESET.
  public static let connectionReset = Errnum(104)
  /// ETIMEDOUT.
  public static let timedOut = Errnum(110)
  /// EHOSTUNREACH: no such rank.
  public static let hostUnreachable = Errnum(113)
  /// ECANCELED.
  public static let canceled = Errnum(125)

  private static let words: [UInt32: String] = [
    1: "Operation not permitted", 2: "No such file or directory", 3: "No such process", 5: "Input/output error",
    10: "No child processes", 11: "Resource temporarily unavailable", 12: "Cannot allocate memory",
    13: "Permission denied", 16: "Device or resource busy", 17: "File exists", 19: "No such device",
    20: "Not a directory", 22: "Invalid argument", 24: "Too many open files", 28: "No space left on device",
    32: "Broken pipe", 38: "Function not implemented", 61: "No data available", 71: "Protocol error",
    75: "Value too large for defined data type", 95: "Operation not supported", 104: "Connection reset by peer",
    110: "Connection timed out", 111: "Connection refused", 113: "No route to host", 125: "Operation canceled",
  ]

  /// Linux's words for it.
  public var description: String { Self.words[rawValue] ?? "Unknown error \(rawValue)" }
}
