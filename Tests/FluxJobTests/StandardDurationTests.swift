// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct StandardDurationTests {
  /// RFC 23, then more.
  static let valid: [(String, Double)] = [
    ("2ms", 0.002), ("0.1s", 0.1), ("30", 30), ("1.2h", 4320), ("5m", 300), ("0s", 0), ("5d", 432_000),
    ("inf", .infinity),
    ("INF", .infinity), ("infinity", .infinity), ("INFINITY", .infinity), ("1.5h", 5400), ("10m", 600), ("500ms", 0.5),
    ("0", 0), ("0ms", 0), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("1e3ms", 1), ("+5", 5), ("1.0d", 86400), ("0x10", 16),
  ]

  @Test(arguments: valid)
  func parses(text: String, seconds: Double) throws {
    #expect(try StandardDuration(parsing: text).seconds == seconds)
  }

  @Test(arguments: [
    "", "s", "ms", "-1", "-1s", "-inf", "nan", "nans", "1.0f", "1.0sec", "infs", "infd", "infinitys", "1 s", " 1", "1 ",
    "1S",
    "1H", "1m30s", "1:30", "1,5", "1us", "é", "1\0", "1e", "1e400s",
  ])
  func rejects(text: String) {
    #expect { try StandardDuration(parsing: text) } throws: { ($0 as? FormatError)?.code == .duration }
  }

  static let descriptions: [(Double, String)] = [
    (0, "0s"), (30, "30s"), (0.1, "0.1s"), (0.0999, "99.9ms"), (0.0123, "12.3ms"), (1e-7, "0.0001ms"),
    (1e-9, "1e-06ms"),
    (59.9999999, "60s"), (60, "1m"), (90, "1.5m"), (3600, "1h"), (5400, "1.5h"), (86399.9, "24h"), (86400, "1d"),
    (90061, "1.04237d"), (12.3456789, "12.3457s"), (1e10, "115741d"), (1e12, "1.15741e+07d"), (86400e6, "1e+06d"),
    (.infinity, "infinity"), (100, "1.66667m"), (0.05, "50ms"), (654_750, "7.57812d"), (300_510, "3.47812d"),
    (3_592_404, "41.5787d"), (3_166_668, "36.6512d"),
  ]

  @Test(arguments: descriptions)
  func describes(seconds: Double, text: String) {
    #expect(StandardDuration(seconds: seconds).description == text)
  }

  @Test func readsBackWithSixDigits() throws {
    var random = SplitMix64(seed: 18)
    for _ in 0..<5000 {
      let seconds = Double(random.skewed()) / Double(1 + random.skewed())
      let duration = StandardDuration(seconds: seconds)
      let again = try StandardDuration(parsing: duration.description).seconds
      #expect(abs(again - seconds) <= seconds * 0.000006)
    }
  }
}
