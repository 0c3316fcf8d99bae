// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import NIOPosix
import Synchronization

/// Writes batches to the state directory, one transaction each, on a thread of its own.
final class StateWriter: Sendable {
  private let database: Mutex<Database>
  private let pool = NIOThreadPool(numberOfThreads: 1)

  init(_ database: sending Database) {
    self.database = Mutex(database)
  }

  func start() { pool.start() }

  /// Commits a batch. `done` is called on the writer's thread.
  func commit(_ batch: StateBatch, number: Int64, _ done: @escaping @Sendable (Database.Failure?) -> Void) {
    pool.submit { [self] _ in
      let failure = database.withLock { database -> Database.Failure? in
        do throws(Database.Failure) {
          try Self.write(batch, number, to: database)
          return nil
        } catch { return error }
      }
      done(failure)
    }
  }

  /// Ends the thread, once everything that it was given is written.
  func stop() async throws {
    try await pool.shutdownGracefully()
    database.withLock { $0.close() }
  }

  /// Done again it does the same: a commit may be reported as failed, and be there.
  private static func write(_ batch: StateBatch, _ number: Int64, to database: Database) throws(Database.Failure) {
    try database.transaction { () throws(Database.Failure) in
      for job in batch.submissions { try insert(job, database) }
      for place in batch.emptied {
        try database.run("DELETE FROM lines WHERE job = ? AND log = ?", place.job.value, .int(place.log.rawValue))
      }
      for (place, text) in batch.lines {
        try database.run(
          "REPLACE INTO lines VALUES (?, ?, ?, ?)", place.job.value, .int(place.log.rawValue), .int(number), .text(text)
        )
      }
      for (id, text) in batch.resources {
        try database.run("UPDATE documents SET resources = ? WHERE id = ?", .text(text), id.value)
      }
      for (id, guest) in batch.guests {
        try database.run("UPDATE jobs SET guest = ? WHERE id = ?", .int(guest.rawValue), id.value)
      }
      for id in batch.waited { try database.run("UPDATE jobs SET waited = 1 WHERE id = ?", id.value) }
      for (id, record) in batch.ended {
        try database.run("UPDATE jobs SET record = ? WHERE id = ?", .text(record), id.value)
      }
      for id in batch.forgotten { try forget(id, database) }
      for (name, value) in batch.notes {
        try database.run("REPLACE INTO notes VALUES (?, ?)", .text(name), .text(value))
      }
      try database.run("UPDATE notes SET value = ? WHERE name = 'batch'", .text(String(number)))
    }
  }

  private static func insert(_ job: StateBatch.Submission, _ database: Database) throws(Database.Failure) {
    try database.run(
      "REPLACE INTO jobs (id, userid, urgency, flags) VALUES (?, ?, ?, ?)", job.id.value, .int(Int64(job.userID)),
      .int(Int64(job.urgency)), .int(Int64(job.flags)))
    try database.run(
      "REPLACE INTO documents (id, signed, jobspec) VALUES (?, ?, ?)", job.id.value, .text(job.signed),
      .init(job.jobspec))
  }

  private static func forget(_ id: JobID, _ database: Database) throws(Database.Failure) {
    try database.run("DELETE FROM lines WHERE job = ?", id.value)
    try database.run("DELETE FROM documents WHERE id = ?", id.value)
    try database.run("DELETE FROM jobs WHERE id = ?", id.value)
  }
}

extension JobID {
  /// The id as SQLite has it: the integer with the same 64 bits.
  var value: Database.Value { .int(Int64(bitPattern: rawValue)) }
}
