// SPDX-License-Identifier: LGPL-3.0-only

/// What a case printed and ended with, normalised.
struct Answer: Sendable, Hashable {
  /// What `timeout` ends with when a case takes too long.
  static let tookTooLong: Int32 = 124

  var code: Int32
  var out: String
  var err: String
}
