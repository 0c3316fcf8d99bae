// SPDX-License-Identifier: LGPL-3.0-only

extension String {
  /// The most of what another instance says in words (an error, an exception, a failure) that is taken from it, in bytes.
  public static let maximumWordsLength = 4096

  /// The text when it has at most so many bytes; else its beginning, up to the end of a character, and an ellipsis: so many bytes together.
  public func cut(to limit: Int) -> String {
    guard utf8.count > limit else { return self }
    let ellipsis = "…"
    var end = utf8.index(startIndex, offsetBy: max(0, limit - ellipsis.utf8.count))
    while end > startIndex, utf8[end] & 0xC0 == 0x80 { end = utf8.index(before: end) }
    return self[..<end] + ellipsis
  }
}
