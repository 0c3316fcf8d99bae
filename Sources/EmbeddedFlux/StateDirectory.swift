// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Synchronization

/// The directory in which an instance keeps its state: its owner's alone, and of one instance at a time.
final class StateDirectory: Sendable {
  let path: String
  private let lock: Mutex<CInt>

  /// Makes the directory when it is missing, checks it, and takes its lock for as long as this object lives.
  init(_ given: String) throws {
    guard !given.isEmpty else { throw EmbeddedInstance.StartError("the state directory has no name") }
    if mkdir(given, 0o700) != 0, errno != EEXIST {
      throw EmbeddedInstance.StartError("cannot make the state directory \(given): \(lastError())")
    }
    guard let resolved = realpath(given, nil) else {
      throw EmbeddedInstance.StartError("cannot use the state directory \(given): \(lastError())")
    }
    let path = String(cString: resolved)
    free(resolved)
    try Self.check(path)
    self.path = path
    lock = Mutex(try Self.takeLock("\(path)/lock", of: path))
  }

  deinit { release() }

  /// Lets others have the directory.
  func release() {
    lock.withLock { descriptor in
      // A child that is about to be may have the descriptor for a moment: the lock ends here all the same.
      if descriptor >= 0 { flock(descriptor, LOCK_UN) }
      if descriptor >= 0 { close(descriptor) }
      descriptor = -1
    }
  }

  var databasePath: String { "\(path)/state.sqlite" }

  private static func check(_ path: String) throws {
    var status = stat()
    guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw EmbeddedInstance.StartError("the state directory \(path) is not a directory")
    }
    guard status.st_uid == getuid() else {
      throw EmbeddedInstance.StartError("the state directory \(path) is not yours: name one that you own")
    }
    guard status.st_mode & 0o077 == 0 else {
      throw EmbeddedInstance.StartError(
        "the state directory \(path) is open to others: what jobs print is in it; chmod 700 \(path)")
    }
  }

  private static func takeLock(_ name: String, of directory: String) throws -> CInt {
    let descriptor = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw EmbeddedInstance.StartError("cannot open \(name): \(lastError())") }
    guard takes(descriptor) else {
      let isTaken = errno == EWOULDBLOCK
      let words = lastError()
      let holder = isTaken ? content(descriptor) : ""
      close(descriptor)
      guard isTaken else { throw EmbeddedInstance.StartError("cannot lock \(name): \(words)") }
      throw EmbeddedInstance.StartError(
        "another instance uses the state directory \(directory)\(holder): stop it first, or name another directory")
    }
    // For whoever is refused; not needed for anything else.
    if ftruncate(descriptor, 0) == 0 {
      let text = "\(getpid())\n"
      _ = text.withCString { pwrite(descriptor, $0, strlen($0), 0) }
    }
    return descriptor
  }

  /// How often the lock is tried, and how long to wait in between, in microseconds: the last child of an instance that was killed may
  /// have it for a moment yet.
  private static let tries = 20
  private static let pause: useconds_t = 50_000

  private static func takes(_ descriptor: CInt) -> Bool {
    for attempt in 0..<tries {
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
      guard errno == EWOULDBLOCK else { return false }
      if attempt < tries - 1 { usleep(pause) }
    }
    errno = EWOULDBLOCK
    return false
  }

  /// The process id that the lock's holder has written.
  private static func content(_ descriptor: CInt) -> String {
    var bytes = [UInt8](repeating: 0, count: 32)
    let count = pread(descriptor, &bytes, bytes.count, 0)
    let digits = String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).prefix { $0.isNumber }
    return digits.isEmpty ? "" : " (process \(digits))"
  }
}
