// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Testing

/// A directory of a test's own, with a path short enough for a socket in it.
struct TemporaryDirectory: Sendable {
  /// Its path.
  let path: String

  /// Makes one, runs `body`, and removes it with the files in it.
  static func with<Result: Sendable>(
    _ body: @Sendable (TemporaryDirectory) async throws -> Result
  ) async throws -> Result {
    let template = strdup("/tmp/fc-XXXXXX")
    defer { free(template) }
    let made = try #require(template.flatMap { mkdtemp($0) })
    let directory = TemporaryDirectory(path: String(cString: made))
    defer { directory.remove() }
    return try await body(directory)
  }

  /// Writes a file.
  ///
  /// - Returns: its path.
  @discardableResult
  func write(_ text: String, to name: String, mode: mode_t = 0o644) throws -> String {
    let file = "\(path)/\(name)"
    let stream = try #require(fopen(file, "w"))
    fputs(text, stream)
    fclose(stream)
    chmod(file, mode)
    return file
  }

  /// What a file contains; nil when there is none.
  func read(_ name: String) -> String? {
    guard let stream = fopen("\(path)/\(name)", "r") else { return nil }
    defer { fclose(stream) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = fread(&bytes, 1, bytes.count, stream)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }

  private func remove() {
    if let listing = opendir(path) {
      while let entry = readdir(listing) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != "." && name != ".." { unlink("\(path)/\(name)") }
      }
      closedir(listing)
    }
    rmdir(path)
  }
}
