// SPDX-License-Identifier: LGPL-3.0-only

/// An eventlog (Flux RFC 18): events, one a line.
public struct Eventlog: Hashable, Sendable {
  /// The events, in the order of the log.
  public var entries: [EventlogEntry]

  /// A log of the given events.
  public init(entries: [EventlogEntry] = []) { self.entries = entries }

  /// Parses one event a line; the newline at the end of the last line may be absent.
  /// - Throws: ``FormatError`` with code `eventlog`; the message says the number of the line, from 1, and the offset is
  ///   that in the whole text.
  public init(parsing text: String) throws(FormatError) {
    entries = []
    var lines = text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    var start = 0
    for (number, line) in lines.enumerated() {
      do throws(FormatError) {
        entries.append(try EventlogEntry(parsing: String(Substring(line))))
      } catch {
        throw FormatError(.eventlog, "line \(number + 1): \(error.message)", offset: start + (error.offset ?? 0))
      }
      start += line.count + 1
    }
  }

  /// The log as text, every event with a newline at its end.
  public var text: String {
    var bytes: [UInt8] = []
    for entry in entries {
      entry.json.write(to: &bytes)
      bytes.append(0x0A)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
