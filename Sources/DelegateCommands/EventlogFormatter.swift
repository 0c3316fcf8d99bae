// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Prints eventlog entries as `flux job eventlog` does.
struct EventlogFormatter: Sendable {
  /// How times are printed.
  enum TimeFormat: String {
    /// Seconds since the epoch.
    case raw
    /// Local time, RFC 3339.
    case iso
    /// Seconds since the first entry.
    case offset
    /// The time at each new minute, then the seconds since.
    case human
  }

  private enum Color: String {
    case name = "\u{1b}[33m"
    case time = "\u{1b}[32m"
    case timeBreak = "\u{1b}[1m\u{1b}[32m"
    case key = "\u{1b}[34m"
    case value = "\u{1b}[35m"
    case number = "\u{1b}[37m"
    case exception = "\u{1b}[1m\u{1b}[31m"
    case reset = "\u{1b}[0m"
  }

  private let isJSON: Bool
  private let timeFormat: TimeFormat
  private let hasColor: Bool
  private var first: Double?
  private var minute: (time: Double, text: String)?

  /// A formatter by the options' words.
  init(format: String, timeFormat: String, isHuman: Bool, hasColor: Bool) throws {
    guard isHuman || ["text", "json"].contains(format.lowercased()) else {
      throw CommandFailure("invalid format type '\(format)'; write text or json")
    }
    isJSON = !isHuman && format.lowercased() == "json"
    let name = isHuman || timeFormat.lowercased() == "reltime" ? "human" : timeFormat.lowercased()
    guard let time = TimeFormat(rawValue: name) else {
      throw CommandFailure("invalid time-format type '\(timeFormat)'; write raw, iso, offset or human")
    }
    self.timeFormat = time
    self.hasColor = hasColor
  }

  /// Notes an entry's time without printing it: offsets count from the first entry of the eventlog.
  mutating func note(_ entry: EventlogEntry) { first = first ?? entry.timestamp }

  /// An entry without a newline.
  mutating func text(of entry: EventlogEntry, line: String) -> String {
    note(entry)
    if isJSON {
      guard let json = try? JSON(parsing: line) else { return entry.json.text }
      return JSONStyle.jansson.text(json)
    }
    var result = time(entry.timestamp) + " " + paint(entry.name, entry.name == "exception" ? .exception : .name)
    for (key, value) in entry.context ?? [:] {
      let isNumber = value.doubleValue != nil
      result +=
        " " + paint(key, .key) + "=" + paint(JSONStyle.jansson.text(value), isNumber ? .number : .value)
    }
    return result
  }

  private func paint(_ text: String, _ color: Color) -> String {
    hasColor ? color.rawValue + text + Color.reset.rawValue : text
  }

  private mutating func time(_ timestamp: Double) -> String {
    switch timeFormat {
    case .raw: return paint(CFormat.string("%f", timestamp), .time)
    case .offset: return paint(CFormat.string("%f", timestamp - (first ?? timestamp)), .time)
    case .iso:
      let whole = timestamp.rounded(.down)
      guard let parts = CFormat.localTime(timestamp) else { return paint(CFormat.string("%f", timestamp), .time) }
      let microseconds = Int((timestamp - whole) * 1e6)
      return paint(
        CFormat.time(timestamp, "%Y-%m-%dT%T") + CFormat.string(".%06ld", microseconds) + CFormat.zone(parts), .time)
    case .human: return humanTime(timestamp)
    }
  }

  private mutating func humanTime(_ timestamp: Double) -> String {
    let text = CFormat.time(timestamp, "%F %H:%M")
    if let minute, minute.text == text { return paint(CFormat.string("[%+11.6f]", timestamp - minute.time), .time) }
    minute = (timestamp, text)
    // Flux's months are English whatever the locale, as this process's, which never sets one.
    return paint(CFormat.time(timestamp, "[%b%d %H:%M]"), .timeBreak)
  }
}
