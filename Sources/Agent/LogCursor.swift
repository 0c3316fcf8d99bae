// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// How far a log has been read, when its stream may have to begin again, and how much of it was copied before.
actor LogCursor {
  private let buffer: LineBuffer
  /// How many lines of the copy are there already.
  private var left: Int
  /// How many entries of the log have been read, by all streams together.
  private var read = 0
  /// How many the present stream has shown.
  private var shown = 0

  init(skipping known: Int, into buffer: LineBuffer) {
    left = known
    self.buffer = buffer
  }

  /// Another stream shows the log from its beginning.
  func startOver() { shown = 0 }

  /// The stream shows another entry: whether it is a new one.
  func isNew() -> Bool {
    shown += 1
    guard shown > read else { return false }
    read = shown
    return true
  }

  /// Adds to the copy what was made of an entry, but for what is there already.
  func add(_ entries: [EventlogEntry]) async {
    for line in entries.flatMap({ LogLines.lines(of: $0) }) {
      if left > 0 { left -= 1 } else { await buffer.add(line) }
    }
  }
}
