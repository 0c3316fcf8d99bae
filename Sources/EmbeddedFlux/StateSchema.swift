// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// The tables of a state directory's database, and how one is recognized.
enum StateSchema {
  /// `FLDg`, in the header of every database that an instance has made.
  private static let applicationID: UInt32 = 0x464c_4467
  /// The version of the tables. One that is newer than this is not touched.
  static let version: UInt32 = 1

  private static let tables = """
    CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE jobs (
      id INTEGER PRIMARY KEY, userid INTEGER NOT NULL, urgency INTEGER NOT NULL, flags INTEGER NOT NULL,
      guest INTEGER NOT NULL DEFAULT 0, waited INTEGER NOT NULL DEFAULT 0, record TEXT);
    CREATE TABLE documents (id INTEGER PRIMARY KEY, signed TEXT NOT NULL, jobspec TEXT, resources TEXT);
    CREATE TABLE lines (
      job INTEGER NOT NULL, log INTEGER NOT NULL, batch INTEGER NOT NULL, text TEXT NOT NULL,
      PRIMARY KEY (job, log, batch)) WITHOUT ROWID;
    """

  /// Opens the database for writing, and makes it when there is none.
  static func open(_ path: String) throws(Database.Failure) -> Database {
    let database = try Database(path)
    // A commit is in the kernel's hands when it returns: it survives the end of this process, whatever that is.
    try database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA journal_size_limit = 67108864")
    return database
  }

  /// Makes a database beside its place and moves it there when it is whole, so that a half-made one is never found.
  static func make(_ path: String, epoch: Double) throws(Database.Failure) {
    // SQLite would take what belongs to another database into the new one.
    guard access(path + "-wal", F_OK) != 0 else {
      throw Database.Failure(code: 26, text: "state.sqlite-wal is there without its database")
    }
    let temporary = path + ".new"
    for end in ["", "-journal", "-wal", "-shm"] { unlink(temporary + end) }
    do {
      let database = try Database(temporary)
      try database.execute("PRAGMA application_id = \(applicationID); PRAGMA user_version = \(version)")
      try database.transaction { () throws(Database.Failure) in
        try database.execute(tables)
        try database.run("INSERT INTO notes VALUES ('epoch', ?)", .text(String(epoch)))
        try database.run("INSERT INTO notes VALUES ('batch', '0')")
      }
    }
    chmod(temporary, 0o600)
    guard rename(temporary, path) == 0 else { throw Database.Failure(code: 10, text: "\(path): \(lastError())") }
  }

  /// Why a file is not a database that this instance may use; nil when it is one. Nothing is written, and SQLite is not asked: it
  /// might repair what is not ours.
  static func objection(to path: String) -> String? {
    let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { return "it cannot be read: \(lastError())" }
    defer { close(descriptor) }
    var header = [UInt8](repeating: 0, count: 100)
    guard pread(descriptor, &header, header.count, 0) == header.count,
      header.prefix(16).elementsEqual("SQLite format 3\0".utf8)
    else { return "it is damaged, or not an SQLite database" }
    let number = { (offset: Int) in header[offset..<offset + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } }
    guard number(68) == applicationID else { return "it is another program's database" }
    guard number(60) <= version else {
      return "it was written by a newer flux-delegate (schema \(number(60)), this one knows \(version))"
    }
    return nil
  }
}
