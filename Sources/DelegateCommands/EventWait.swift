// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

/// Waits for an event of a job: `job wait-event`, and `job eventlog --follow`.
struct EventWait: Sendable {
  let job: JobID
  /// The job as the user wrote it.
  let name: String
  let path: EventlogPath
  /// The event; nil is the end of the eventlog.
  let event: String?
  var formatter: EventlogFormatter
  /// Whether an eventlog that is not there yet is waited for.
  var waitsForCreation = false
  /// Whether the events before it are printed too.
  var printsAll = false
  /// Whether the event itself is not printed.
  var isQuiet = false
  /// How often the event must come.
  var count = 1
  /// A key and a value that the event's context must have.
  var match: (key: String, value: String)?
  /// How long to wait in all; nil is for ever.
  var timeout: Duration?

  init(job: JobID, name: String, path: EventlogPath, event: String?, formatter: EventlogFormatter) {
    self.job = job
    self.name = name
    self.path = path
    self.event = event
    self.formatter = formatter
  }

  /// Waits.
  ///
  /// - Returns: 0 when the event came.
  func run(on connection: FluxConnection, _ context: CommandContext) async throws -> Int32 {
    guard let timeout else { return try await follow(connection, context) }
    return try await withThrowingTaskGroup(of: Int32.self) { group in
      group.addTask { try await follow(connection, context) }
      group.addTask {
        try await Task.sleep(for: timeout)
        throw CommandFailure("wait-event timeout on event '\(event ?? "")'")
      }
      defer { group.cancelAll() }
      return try await group.next() ?? 1
    }
  }

  private func follow(_ connection: FluxConnection, _ context: CommandContext) async throws -> Int32 {
    var formatter = formatter
    var matches = 0
    do {
      let watch = await EventlogWatch.open(
        path.path, of: job, on: connection, flags: waitsForCreation ? .waitCreate : [])
      for try await element in watch {
        guard let (entry, line) = element else { continue }
        formatter.note(entry)
        if isMatch(entry) { matches += 1 }
        let isFound = isMatch(entry) && matches == count
        if isFound ? !isQuiet : printsAll { context.output.print(formatter.text(of: entry, line: line)) }
        if isFound { return 0 }
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      throw path.notFound(job: name)
    }
    guard let event else { return 0 }
    throw CommandFailure("event '\(event)' never received")
  }

  private func isMatch(_ entry: EventlogEntry) -> Bool {
    guard entry.name == event else { return false }
    guard let match else { return true }
    guard let value = entry.context?[match.key] else { return false }
    return value.stringValue == match.value || JSONStyle.jansson.text(value) == match.value
  }
}
