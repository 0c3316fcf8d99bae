// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob
import NIOPosix

#if canImport(Glibc)
  import Glibc
#endif

/// Writes a job's output to the files that its owner has named, as the job shell does: bytes as they come, in the order of the log.
///
/// What is written already, by an earlier agent, is left out: the bytes that a log makes for a file are the same every time.
actor OutputWriter {
  /// A file that cannot be opened or written.
  struct Failure: Error {
    var message: String
  }

  /// How often it is looked whether a FIFO takes something.
  private static let retry = Duration.milliseconds(20)
  /// The most files of one job: as many as tasks that have one each.
  private static let maximumFiles = 1024

  private struct OpenFile {
    var descriptor: CInt
    /// How many bytes of the log are in it already.
    var left: Int
  }

  private let files: OutputFiles
  private let isNew: Bool
  /// How long each file was when the job began, by its path: not 0 where the job appends.
  private(set) var offsets: [String: Int]
  private var open: [String: OpenFile] = [:]

  /// - Parameters:
  ///   - isNew: whether nothing of the log has been written yet.
  ///   - offsets: how long the files were when the job began, when it is not new.
  init(_ files: OutputFiles, isNew: Bool, offsets: [String: Int]) {
    self.files = files
    self.isNew = isNew
    self.offsets = offsets
  }

  /// Opens the files that do not depend on a task, so that they are there even if nothing is written.
  func begin() async throws {
    for file in [files.out, files.err].compactMap({ $0 }) where !file.path.contains("{{") {
      _ = try await descriptor(file.path, file.shown)
    }
  }

  /// Writes an entry of the log, if its stream goes to a file. What the target says of a task that the job does not have goes to none.
  ///
  /// - Returns: whether it does.
  func write(_ entry: EventlogEntry) async throws -> Bool {
    guard entry.name == "data", let context = entry.context, let stream = context["stream"]?.stringValue,
      let file = stream == "stdout" ? files.out : stream == "stderr" ? files.err : nil,
      let task = files.task(context["rank"]?.stringValue ?? "0")
    else { return false }
    let bytes = Self.bytes(context, label: file.isLabelled ? task : nil)
    let path = file.path(of: task)
    let descriptor = try await descriptor(path, file.shown)
    let known = min(open[path]?.left ?? 0, bytes.count)
    open[path]?.left -= known
    if known < bytes.count { try await Self.write(bytes[known...], to: descriptor, path) }
    return true
  }

  func close() {
    for file in open.values { Glibc.close(file.descriptor) }
    open = [:]
  }

  private static func bytes(_ context: JSONObject, label: Int?) -> [UInt8] {
    let data = context["data"]?.stringValue ?? ""
    let bytes =
      context["encoding"]?.stringValue == "base64" ? (try? Base64.decode(data)) ?? [] : Array(data.utf8)
    guard let label, !bytes.isEmpty else { return bytes }
    return Array("\(label): ".utf8) + bytes
  }

  // MARK: Files, which may be on a slow file system: not on the threads of the agent

  private func descriptor(_ path: String, _ shown: String) async throws -> CInt {
    if let file = open[path] { return file.descriptor }
    guard path.utf8.count < OutputFiles.maximumPathLength else {
      throw Failure(message: "open: \(shown): \(String(cString: strerror(ENAMETOOLONG)))")
    }
    guard open.count < Self.maximumFiles else {
      throw Failure(message: "\(shown): more than \(Self.maximumFiles) files for the output of one job")
    }
    let isFirst = isNew
    let keeps = files.appends
    // What is no regular file must not hold up the threads that all jobs share: O_NONBLOCK, and whoever has to wait does it here.
    let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK | (isFirst && !keeps ? O_TRUNC : 0)
    var opened: (descriptor: CInt, size: Int, errnum: CInt)
    while true {
      opened = try await NIOThreadPool.singleton.runIfActive { () -> (CInt, Int, CInt) in
        let descriptor = Glibc.open(path, flags, 0o666)
        guard descriptor >= 0 else { return (-1, 0, errno) }
        return (descriptor, Int(lseek(descriptor, 0, SEEK_END)), 0)
      }
      // A FIFO that nobody reads yet.
      guard opened.errnum == ENXIO else { break }
      try await Task.sleep(for: Self.retry)
    }
    let (descriptor, size, errnum) = opened
    // Too many open files: not the job's fault, and it may pass.
    guard errnum != EMFILE, errnum != ENFILE else {
      throw TargetFailure("\(shown): \(String(cString: strerror(errnum)))", isTransient: true)
    }
    guard descriptor >= 0 else { throw Failure(message: "open: \(shown): \(String(cString: strerror(errnum)))") }
    if isNew { offsets[path] = max(0, size) }
    open[path] = OpenFile(descriptor: descriptor, left: isNew ? 0 : size - max(0, min(offsets[path] ?? 0, size)))
    return descriptor
  }

  private static func write(_ bytes: ArraySlice<UInt8>, to descriptor: CInt, _ path: String) async throws {
    var rest = bytes
    var errnum: CInt = 0
    while !rest.isEmpty, errnum == 0 || errnum == EAGAIN {
      // A pipe that is full.
      if errnum == EAGAIN { try await Task.sleep(for: retry) }
      let due = rest
      let (done, error) = try await NIOThreadPool.singleton.runIfActive { () -> (Int, CInt) in
        due.withUnsafeBytes { buffer -> (Int, CInt) in
          var done = 0
          while done < buffer.count {
            let count = Glibc.write(descriptor, buffer.baseAddress?.advanced(by: done), buffer.count - done)
            if count < 0, errno == EINTR { continue }
            if count < 0 { return (done, errno) }
            done += count
          }
          return (done, 0)
        }
      }
      rest = rest.dropFirst(done)
      errnum = error
    }
    if errnum != 0, errnum != EAGAIN { throw Failure(message: "write: \(path): \(String(cString: strerror(errnum)))") }
  }
}
