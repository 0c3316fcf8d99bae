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
