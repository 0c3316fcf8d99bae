// SPDX-License-Identifier: LGPL-3.0-only

/// A short shell script of Flux's commands that is run against both instances.
struct ComparisonCase: Sendable, Hashable {
  var name: String
  var script: String
  /// Why the answers differ; nil when they have to be the same.
  var reason: String?
}
