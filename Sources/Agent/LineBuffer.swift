// SPDX-License-Identifier: LGPL-3.0-only

/// Lines on their way from one log to another: whoever writes takes all that have come since, so that many small entries cost few
/// writes. One reader, one writer.
actor LineBuffer {
  /// How much may wait, in bytes, before the reader does.
  private static let capacity = 4 << 20
  /// How much is taken at once, in bytes.
  private static let portion = 1 << 20

  private var lines: [String] = []
  private var size = 0
  private var isEnded = false
  private var writer: CheckedContinuation<Void, Never>?
  private var reader: CheckedContinuation<Void, Never>?

  /// Adds a line; waits while too much is in the buffer. After the end it is dropped.
  func add(_ line: String) async {
    if size >= Self.capacity, !isEnded { await withCheckedContinuation { reader = $0 } }
    guard !isEnded else { return }
    lines.append(line)
    size += line.utf8.count
    wakeWriter()
  }

  /// Nothing more comes, or nobody takes any more.
  func end() {
    isEnded = true
    wakeWriter()
    reader?.resume()
    reader = nil
  }

  /// All that has come, at most a portion; nil at the end.
  func take() async -> String? {
    if lines.isEmpty, !isEnded { await withCheckedContinuation { writer = $0 } }
    var text = ""
    var count = 0
    while count < lines.count, text.isEmpty || text.utf8.count + lines[count].utf8.count <= Self.portion {
      text += lines[count]
      count += 1
    }
    lines.removeFirst(count)
    size -= text.utf8.count
    reader?.resume()
    reader = nil
    return text.isEmpty ? nil : text
  }

  private func wakeWriter() {
    writer?.resume()
    writer = nil
  }
}
