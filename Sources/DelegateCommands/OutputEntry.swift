// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What an entry of a job's output eventlog (RFC 24) says.
enum OutputEntry {
  /// Bytes of a stream; none at its end.
  case data(stream: String, rank: String, bytes: [UInt8], isEnd: Bool)
  /// A stream goes to a file.
  case redirect(stream: String, rank: String, path: String?)
  /// A message of the job shell's.
  case log(Log)
  /// The header, or something that this version does not know.
  case other

  /// A message of the job shell's.
  struct Log {
    var rank: String?
    var level: Int
    var message: String
    var component: String?
    var file: String?
    var line: Int?

    /// RFC 5424's levels as the shell names them.
    var label: String? {
      switch level {
      case ..<3: "FATAL"
      case 3: "ERROR"
      case 4: " WARN"
      case 6: "DEBUG"
      case 7: "TRACE"
      default: nil
      }
    }
  }

  /// Reads an entry.
  ///
  /// - Throws: ``CommandFailure`` when it is malformed.
  init(_ entry: EventlogEntry) throws {
    guard let context = entry.context else {
      self = .other
      return
    }
    let rank = context["rank"].flatMap { $0.stringValue ?? $0.intValue.map(String.init) }
    switch entry.name {
    case "data": self = try Self.data(context, rank: rank ?? "")
    case "redirect":
      guard let stream = context["stream"]?.stringValue else { throw CommandFailure("malformed redirect context") }
      self = .redirect(stream: stream, rank: rank ?? "", path: context["path"]?.stringValue)
    case "log":
      guard let level = context["level"]?.intValue, let message = context["message"]?.stringValue else {
        self = .other
        return
      }
      self = .log(
        Log(
          rank: rank, level: Int(clamping: level), message: message, component: context["component"]?.stringValue,
          file: context["file"]?.stringValue, line: context["line"]?.intValue.map { Int(clamping: $0) }))
    default: self = .other
    }
  }

  private static func data(_ context: JSONObject, rank: String) throws -> OutputEntry {
    guard let stream = context["stream"]?.stringValue else { throw CommandFailure("malformed event context") }
    var bytes: [UInt8] = []
    if let data = context["data"]?.stringValue {
      bytes = context["encoding"]?.stringValue == "base64" ? try Base64.decode(data) : Array(data.utf8)
    }
    if let count = context["repeat"]?.intValue, count > 1, !bytes.isEmpty {
      let (total, overflow) = bytes.count.multipliedReportingOverflow(by: Int(clamping: count))
      guard !overflow, total <= 64 << 20 else { throw CommandFailure("malformed event context: repeat=\(count)") }
      bytes = Array(repeatElement(bytes, count: Int(count)).joined())
    }
    return .data(stream: stream, rank: rank, bytes: bytes, isEnd: context["eof"]?.boolValue ?? false)
  }
}
