// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// What has happened to a job at a target, until somebody wants to know; up to a limit. What is more has to be looked up.
struct KeptEvents {
  /// The most events of a job that are kept, and the most bytes, its resources included. An ordinary one has a dozen, of 100 bytes each.
  static let maximum = (events: 64, bytes: 64 << 10)

  private(set) var events: [EventlogEntry] = []
  private(set) var resources: RemoteResources?
  /// Whether all that has happened is kept.
  private(set) var isWhole = true
  /// How many bytes are kept.
  private(set) var size = 0

  mutating func add(_ entry: EventlogEntry) {
    guard isWhole else { return }
    events.append(entry)
    grow(by: entry.line.utf8.count)
  }

  mutating func add(_ found: RemoteResources) {
    guard isWhole else { return }
    resources = found
    grow(by: found.text.utf8.count)
  }

  private mutating func grow(by bytes: Int) {
    size += bytes
    if size > Self.maximum.bytes || events.count > Self.maximum.events { drop() }
  }

  /// Keeps nothing any more.
  mutating func drop() {
    isWhole = false
    events = []
    resources = nil
    size = 0
  }
}
