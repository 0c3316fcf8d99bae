// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// Reads back what the state directory keeps.
final class StateReader {
  /// A job without its documents.
  struct Entry {
    var id: JobID
    var userID: UInt32
    var urgency: Int
    var flags: Int
    var guest: StateBatch.Guest
    var isWaited: Bool
    /// What is kept for listings once it has ended.
    var record: String?

    fileprivate init(_ row: Database.Row) {
      id = JobID(rawValue: UInt64(bitPattern: row.int(0)))
      userID = UInt32(truncatingIfNeeded: row.int(1))
      urgency = Int(row.int(2))
      flags = Int(row.int(3))
      guest = StateBatch.Guest(rawValue: row.int(4)) ?? .none
      isWaited = row.int(5) != 0
      record = row.text(6)
    }
  }

  /// The columns that an entry is made of.
  private static let entries = "SELECT id, userid, urgency, flags, guest, waited, record FROM jobs WHERE"

  private let database: Database

  init(_ path: String) throws(Database.Failure) { database = try Database(path, isReadOnly: true) }

  func close() { database.close() }

  /// Something that is kept for the instance itself.
  func note(_ name: String) throws(Database.Failure) -> String? {
    var value: String?
    try database.query("SELECT value FROM notes WHERE name = ?", [.text(name)]) { value = $0.text(0) }
    return value
  }

  /// Hands every job over, in the order of their ids.
  func jobs(_ body: (Entry) throws(Database.Failure) -> Void) throws(Database.Failure) {
    // Ids with the highest bit are the newest, though SQLite takes them for negative.
    for half in ["id >= 0", "id < 0"] {
      let query = "\(Self.entries) \(half) ORDER BY id"
      try database.query(query) { (row) throws(Database.Failure) in try body(Entry(row)) }
    }
  }

  /// One job; nil when there is none of that id.
  func entry(_ id: JobID) throws(Database.Failure) -> Entry? {
    var found: Entry?
    let query = "\(Self.entries) id = ?"
    try database.query(query, [id.value]) { found = Entry($0) }
    return found
  }

  /// A job with its documents, in the state that its eventlog proves. Nil when there is none, or nothing that makes sense.
  func job(_ entry: Entry) throws(Database.Failure) -> Job? {
    var body: JobBody?
    try database.query("SELECT signed, jobspec, resources FROM documents WHERE id = ?", [entry.id.value]) { row in
      body = Self.body(signed: row.text(0) ?? "", jobspec: row.text(1), resources: row.text(2))
    }
    guard let body else { return nil }
    let job = Job(id: entry.id, userID: entry.userID, urgency: entry.urgency, flags: entry.flags, body: body)
    var entries: [EventlogEntry] = []
    for line in try lines(entry.id, .events) {
      guard let entry = try? EventlogEntry(parsing: line) else { return nil }
      entries.append(entry)
    }
    guard entries.first?.name == "submit" else { return nil }
    // The eventlog alone says what is true.
    if !entries.contains(where: { $0.name == "alloc" }) { body.resources = nil }
    job.replay(entries)
    job.hasNamespace = entry.guest == .open
    return job
  }

  private static func body(signed: String, jobspec: String?, resources: String?) -> JobBody? {
    guard let text = jobspec ?? (try? SignedJobspec(parsing: signed))?.jobspec, let found = try? Jobspec(parsing: text)
    else { return nil }
    let body = JobBody(signed: signed, jobspec: found)
    body.resources = resources.flatMap { try? JSON(parsing: $0) }.flatMap { try? ResourceSet($0) }
    return body
  }

  /// The lines of a log that were written with one transaction, the first after another one's; nil when there are none.
  func page(_ id: JobID, _ log: StateBatch.Log, after batch: Int64) throws(Database.Failure) -> (
    batch: Int64, text: String
  )? {
    var page: (batch: Int64, text: String)?
    let query = "SELECT batch, text FROM lines WHERE job = ? AND log = ? AND batch > ? ORDER BY batch LIMIT 1"
    try database.query(query, [id.value, .int(log.rawValue), .int(batch)]) { row in
      page = (row.int(0), row.text(1) ?? "")
    }
    return page
  }

  /// The lines of a log.
  func lines(_ id: JobID, _ log: StateBatch.Log) throws(Database.Failure) -> [String] {
    var lines: [String] = []
    let query = "SELECT text FROM lines WHERE job = ? AND log = ? ORDER BY batch"
    try database.query(query, [id.value, .int(log.rawValue)]) { row in
      lines += (row.text(0) ?? "").utf8.split(separator: UInt8(ascii: "\n")).map { Substring($0) + "\n" }
    }
    return lines
  }
}
