// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// The directory of an instance's socket: its owner's alone.
struct RunDirectory: Sendable {
  let path: String
  let socketPath: String
  private let isOwn: Bool

  /// - Parameter socketPath: nil makes a new directory; else the socket's directory is made when it is missing, and checked.
  init(socketPath given: String?) throws {
    guard let given else {
      let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
      var template = Array("\(base)/flux-XXXXXX".utf8CString)
      guard mkdtemp(&template) != nil else {
        throw EmbeddedInstance.StartError("cannot make a directory in \(base): \(lastError())")
      }
      path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      socketPath = "\(path)/local-0"
      isOwn = true
      return
    }
    guard given.hasPrefix("/"), given.utf8.count <= 107 else {
      throw EmbeddedInstance.StartError(
        "'\(given)' is not an absolute path of at most 107 bytes, as a socket's has to be")
    }
    path = String(given[..<(given.lastIndex(of: "/") ?? given.startIndex)])
    socketPath = given
    isOwn = false
    if mkdir(path, 0o700) != 0 && errno != EEXIST {
      throw EmbeddedInstance.StartError("cannot make \(path): \(lastError())")
    }
    try Self.check(path)
    try Self.clear(given)
  }

  private static func check(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw EmbeddedInstance.StartError("\(path) is not a directory")
    }
    guard status.st_uid == getuid(), status.st_mode & 0o022 == 0 else {
      throw EmbeddedInstance.StartError("\(path) has to be yours and writable by nobody else: chmod 700 \(path)")
    }
  }

  /// Removes a socket that nobody listens on any more.
  private static func clear(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0 else { return }
    guard status.st_mode & S_IFMT == S_IFSOCK else {
      throw EmbeddedInstance.StartError("\(path) exists and is no socket")
    }
    let probe = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    defer { close(probe) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
    let isAlive = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(probe, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
      }
    }
    guard !isAlive else { throw EmbeddedInstance.StartError("an instance listens on \(path) already") }
    unlink(path)
  }

  func remove() {
    unlink(socketPath)
    if isOwn { rmdir(path) }
  }
}
