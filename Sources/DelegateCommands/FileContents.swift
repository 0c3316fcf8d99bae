// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Reads whole files.
enum FileContents {
  /// The longest file that is read.
  static let maximumLength = 64 << 20

  /// The bytes of the file at `path`.
  ///
  /// - Parameter label: the option that named the file, for the error.
  static func read(_ path: String, label: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw CommandFailure("\(label): \(String(cString: strerror(errno))): '\(path)'")
    }
    defer { close(descriptor) }
    return try read(descriptor, label: "\(label): '\(path)'")
  }

  /// What `descriptor` gives until its end.
  static func read(_ descriptor: CInt, label: String) throws -> [UInt8] {
    var result: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count == 0 { return result }
      if count < 0 {
        if errno == EINTR { continue }
        throw CommandFailure("\(label): \(String(cString: strerror(errno)))")
      }
      result += chunk[..<count]
      guard result.count <= maximumLength else {
        throw CommandFailure("\(label): longer than \(maximumLength >> 20) MiB")
      }
    }
  }
}
