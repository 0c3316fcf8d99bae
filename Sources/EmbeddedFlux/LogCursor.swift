// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Reads a log of a job from its beginning, an entry at a time, wherever it is meanwhile: in memory, or in the state directory once the job has ended.
/// No more than a transaction's worth of it is read from there at once.
final class LogCursor {
  private unowned let manager: JobManager
  private let id: JobID
  private let log: StateBatch.Log
  /// How many entries were given.
  private var count = 0
  // On disk.
  private var batch: Int64 = -1
  private var page: Substring = ""
  private var isOnDisk = false

  init(_ manager: JobManager, _ id: JobID, _ log: StateBatch.Log) {
    self.manager = manager
    self.id = id
    self.log = log
  }

  /// The next entry; nil when it has none now.
  func next() throws(ServiceError) -> String? {
    guard let job = manager.jobs[id] else { throw ServiceError(.noEntry) }
    let line = job.body == nil ? try nextOnDisk(job) : nextInMemory(job)
    if line != nil { count += 1 }
    return line
  }

  /// The next entry has been given by somebody else.
  func skip() { count += 1 }

  private func nextInMemory(_ job: Job) -> String? {
    isOnDisk = false
    return switch log {
    case .events: count < job.eventlog.count ? job.eventlog[count].line : nil
    case .execution: count < job.execLog.count ? job.execLog[count] : nil
    case .output: count < job.output.count ? job.output[count] : nil
    case .input: count < max(job.input.count, 1) ? job.inputLog.dropFirst(count).first : nil
    }
  }

  private func nextOnDisk(_ job: Job) throws(ServiceError) -> String? {
    if !isOnDisk {
      isOnDisk = true
      batch = -1
      page = ""
      // What was given from memory.
      for _ in 0..<count where try line(job) == nil { return nil }
    }
    if let line = try line(job) { return line + "\n" }
    return log == .input && count == 0 ? try headerOnDisk(job) : nil
  }

  /// The next line in the state directory, without its end.
  private func line(_ job: Job) throws(ServiceError) -> Substring? {
    while page.isEmpty {
      guard let read = try manager.page(of: job, log, after: batch) else { return nil }
      batch = read.batch
      page = Substring(read.text)
    }
    let end = page.utf8.firstIndex(of: UInt8(ascii: "\n")) ?? page.endIndex
    let line = page[..<end]
    page = end < page.endIndex ? page[page.utf8.index(after: end)...] : ""
    return line
  }

  /// The header of a log of standard input that has nothing else: the execution log has it.
  private func headerOnDisk(_ job: Job) throws(ServiceError) -> String? {
    guard try manager.whole(job).isExecuted else { return nil }
    let execution = LogCursor(manager, id, .execution)
    for _ in 0..<InputLog.headerEntries {
      guard let line = try execution.next() else { return nil }
      if let header = InputLog.header(from: line) { return header }
    }
    return nil
  }
}
