// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Times as text.
enum Timestamp {
  /// RFC 3339 in UTC with microseconds, as in Flux's log: `2026-11-24T18:35:00.123456Z`.
  static func iso(_ time: Double) -> String {
    var seconds = time_t(time)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    var text = [CChar](repeating: 0, count: 32)
    let length = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S", &parts)
    let micro = String(Int((time - Double(seconds)) * 1e6))
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
      + "." + String(repeating: "0", count: max(0, 6 - micro.count)) + micro + "Z"
  }
}
