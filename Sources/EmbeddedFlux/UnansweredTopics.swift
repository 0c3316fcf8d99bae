// SPDX-License-Identifier: LGPL-3.0-only

/// The topics that this instance does not have, and that somebody has asked for. Pure.
struct UnansweredTopics {
  /// The most that are remembered, and the most bytes of each that are shown.
  static let maximum = 256
  static let maximumLength = 128

  private var known: Set<String> = []

  /// What to write into the log, the first time that a topic is asked for; nil later, and when there were too many already.
  mutating func line(for topic: String) -> String? {
    // The service of a job that has ended is gone, in Flux as well.
    if topic.prefix(while: { $0 != "." }).contains("-shell-") { return nil }
    let name = String(topic.prefix(Self.maximumLength))
    guard known.count < Self.maximum, known.insert(name).inserted else { return nil }
    let more = known.count == Self.maximum ? "; others are not named any more" : ""
    return "\(name): asked for, and not supported by this instance\(more)"
  }
}
