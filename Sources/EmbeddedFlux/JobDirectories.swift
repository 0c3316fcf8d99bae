// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import NIOCore
import NIOPosix

/// The temporary directories of a job, one a node with tasks: what `FLUX_JOB_TMPDIR` names.
struct JobDirectories {
  /// By node; nil where none could be made.
  let paths: [String?]

  /// Makes `PARENT/jobtmp-NODE-ID`, or, where that is taken, the same with a random end.
  init(_ id: JobID, _ layout: TaskLayout, parent: String) {
    let used = Set(layout.tasks.map(\.node))
    paths = (0..<layout.nodeCount).map { node in
      used.contains(node) ? Self.make("\(parent)/jobtmp-\(node)-\(id.encoded(.f58))") : nil
    }
  }

  private static func make(_ path: String) -> String? {
    if mkdir(path, 0o700) == 0 { return path }
    guard errno == EEXIST else { return nil }
    let other = path + "-" + String(UInt64.random(in: .min ... .max), radix: 36)
    return mkdir(other, 0o700) == 0 ? other : nil
  }

  /// Writes a file that comes with the job (RFC 37) into each of them. A name that would leave them is refused.
  func extract(_ name: String, _ file: JSON) -> Bool {
    let parts = name.split(separator: "/", omittingEmptySubsequences: false)
    guard !parts.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) else { return false }
    let bytes: [UInt8]
    switch (file["encoding"]?.stringValue, file["data"]) {
    case ("base64"?, .string(let text)?):
      guard let decoded = try? Base64.decode(text) else { return false }
      bytes = decoded
    case (_, .string(let text)?): bytes = Array(text.utf8)
    case (_, let value?): bytes = Array(value.text.utf8)
    default: return false
    }
    let mode = mode_t(truncatingIfNeeded: file["mode"]?.intValue ?? 0o600) & 0o777
    return paths.compactMap { $0 }.allSatisfy { Self.write(bytes, parts.dropLast(), "\($0)/\(name)", under: $0, mode) }
  }

  private static func write(
    _ bytes: [UInt8], _ folders: ArraySlice<Substring>, _ path: String, under root: String, _ mode: mode_t
  ) -> Bool {
    var folder = root
    for name in folders {
      folder += "/\(name)"
      guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { return false }
    }
    let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode)
    guard file >= 0 else { return false }
    defer { close(file) }
    guard DescriptorWriter.write(bytes, to: file).count == bytes.count else { return false }
    return fchmod(file, mode) == 0
  }

  /// Removes them with all that is in them, and calls back on the loop. What is empty goes at once; more takes a thread.
  func remove(_ loop: any EventLoop, then next: @escaping () -> Void) {
    let full = paths.compactMap { $0 }.filter { rmdir($0) != 0 && errno != ENOENT }
    guard !full.isEmpty else { return next() }
    let box = NIOLoopBound(next, eventLoop: loop)
    NIOThreadPool.singleton.submit { _ in
      for path in full { Self.removeTree(path) }
      loop.execute { box.value() }
    }
  }

  /// How deep a tree is followed.
  private static let maximumDepth = 256

  /// Removes a tree; links are removed, not followed.
  private static func removeTree(_ path: String, depth: Int = 0) {
    if depth < maximumDepth, let directory = opendir(path) {
      // A directory without permission for its owner would keep what is in it.
      chmod(path, 0o700)
      while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
          $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard name != ".", name != ".." else { continue }
        let inner = "\(path)/\(name)"
        var status = stat()
        guard lstat(inner, &status) == 0 else { continue }
        if status.st_mode & S_IFMT == S_IFDIR { removeTree(inner, depth: depth + 1) } else { unlink(inner) }
      }
      closedir(directory)
    }
    rmdir(path)
  }
}
