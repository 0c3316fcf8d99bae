// SPDX-License-Identifier: LGPL-3.0-only

extension Duration {
  /// The duration for a message: `30 s`, `0.3 s`.
  var inWords: String {
    let milliseconds = components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(Double(milliseconds) / 1000) s"
  }
}
