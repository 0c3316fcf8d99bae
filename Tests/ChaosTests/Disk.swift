// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import TestSupport

/// A small disk in memory, which can be filled. Only root can have one.
struct Disk: Sendable {
  /// In megabytes: enough for a run of half an hour.
  private static let size = 192
  let path: String
  private var ballast: String { "\(path)/ballast" }

  /// - Returns: whether it is there.
  func make() async throws -> Bool {
    mkdir(path, 0o700)
    let made = try await run(
      ["mount", "-t", "tmpfs", "-o", "size=\(Self.size)m,mode=700,nosuid,nodev", "flux-delegate-chaos", path])
    return made.code == 0
  }

  func remove() async throws { _ = try await run(["umount", path]) }

  /// Takes all the room that is left.
  func fill() -> Bool {
    let file = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { return false }
    defer { close(file) }
    var found = statvfs()
    guard fstatvfs(file, &found) == 0 else { return false }
    let room = off_t(found.f_bavail) * off_t(found.f_bsize)
    // What others write meanwhile leaves less: the rest is taken byte by byte.
    _ = posix_fallocate(file, 0, max(1, room))
    var zeros = [UInt8](repeating: 0, count: 4096)
    lseek(file, 0, SEEK_END)
    while write(file, &zeros, zeros.count) > 0 {}
    return true
  }

  func makeRoom() { unlink(ballast) }
}
