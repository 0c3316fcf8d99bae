// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Numbers and times as C and Flux's Python print them.
enum CFormat {
  /// `printf` into a string.
  static func string(_ format: String, _ arguments: any CVarArg...) -> String {
    withVaList(arguments) { list in
      var buffer = [CChar](repeating: 0, count: 512)
      let count = vsnprintf(&buffer, buffer.count, format, list)
      let end = min(max(Int(count), 0), buffer.count - 1)
      return String(decoding: buffer[..<end].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

  /// A local time as `strftime` prints it; empty when there is no such time.
  static func time(_ seconds: Double, _ format: String) -> String {
    guard var parts = localTime(seconds) else { return "" }
    var buffer = [CChar](repeating: 0, count: 512)
    let count = strftime(&buffer, buffer.count, format, &parts)
    return String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// The parts of a local time.
  static func localTime(_ seconds: Double) -> tm? {
    guard var whole = time_t(exactly: seconds.rounded(.down)) else { return nil }
    var parts = tm()
    guard localtime_r(&whole, &parts) != nil else { return nil }
    return parts
  }

  /// The zone's offset as RFC 3339 writes it: `Z`, or `+02:00`.
  static func zone(_ parts: tm) -> String {
    if parts.tm_gmtoff == 0 { return "Z" }
    let minutes = abs(parts.tm_gmtoff) / 60
    return (parts.tm_gmtoff < 0 ? "-" : "+") + string("%02ld:%02ld", minutes / 60, minutes % 60)
  }

  /// Flux standard duration as Flux's Python commands print it.
  static func duration(_ seconds: Double) -> String {
    switch seconds {
    case .infinity: "inf"
    case ..<1e-3: "0s"
    case ..<10: string("%.03fs", seconds)
    case ..<60: string("%.4gs", seconds)
    case ..<3600: string("%.4gm", seconds / 60)
    case ..<86400: string("%.4gh", seconds / 3600)
    default: string("%.4gd", seconds / 86400)
    }
  }

  /// Seconds since the epoch.
  static func now() -> Double {
    var value = timespec()
    clock_gettime(CLOCK_REALTIME, &value)
    return Double(value.tv_sec) + Double(value.tv_nsec) / 1e9
  }
}
