// SPDX-License-Identifier: LGPL-3.0-only

import CSQLite
import Glibc

/// One connection to an SQLite database, used by one thread at a time.
final class Database {
  /// What SQLite says when it cannot do what it is asked.
  struct Failure: Error, CustomStringConvertible {
    /// SQLite's extended result code.
    let code: Int32
    /// SQLite's words.
    let text: String

    var description: String { "\(text) (SQLite \(code))" }
    /// The errno for the one who has asked: ENOSPC when there is no room, else EIO.
    var errnum: CInt { code & 0xff == SQLITE_FULL ? ENOSPC : EIO }
    /// Whether the file is no database, or is damaged.
    var isDamage: Bool { code & 0xff == SQLITE_NOTADB || code & 0xff == SQLITE_CORRUPT }
  }

  /// A value to be bound.
  enum Value {
    case int(Int64)
    case text(String)
    case null

    init(_ text: String?) { self = text.map { .text($0) } ?? .null }
  }

  /// How long another connection's lock is waited for, in milliseconds.
  private static let patience: CInt = 5000
  /// Nil once it is closed.
  private var handle: OpaquePointer?
  private var statements: [String: OpaquePointer] = [:]

  /// Opens the file. One that is not there is made, unless it is opened for reading only.
  init(_ path: String, isReadOnly: Bool = false) throws(Failure) {
    var opened: OpaquePointer?
    let flags = isReadOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
    let code = sqlite3_open_v2(path, &opened, flags | SQLITE_OPEN_NOMUTEX, nil)
    guard let opened, code == SQLITE_OK else {
      let words = opened.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
      sqlite3_close(opened)
      throw Failure(code: code, text: words)
    }
    handle = opened
    sqlite3_extended_result_codes(handle, 1)
    sqlite3_busy_timeout(handle, Self.patience)
  }

  deinit { close() }

  /// Ends the connection; whatever is asked of it afterwards fails.
  func close() {
    for statement in statements.values { sqlite3_finalize(statement) }
    statements.removeAll()
    sqlite3_close_v2(handle)
    handle = nil
  }

  private func open() throws(Failure) -> OpaquePointer {
    guard let handle else { throw Failure(code: SQLITE_MISUSE, text: "the database is closed") }
    return handle
  }

  /// Runs statements that have no parameters and whose rows nobody wants.
  func execute(_ sql: String) throws(Failure) {
    guard sqlite3_exec(try open(), sql, nil, nil, nil) == SQLITE_OK else { throw failure() }
  }

  /// Runs one statement to its end; it is prepared once and kept.
  func run(_ sql: String, _ values: Value...) throws(Failure) { try query(sql, values) { _ in } }

  /// Runs one statement and hands each of its rows over.
  func query(_ sql: String, _ values: [Value] = [], _ body: (Row) throws(Failure) -> Void) throws(Failure) {
    let statement = try prepared(sql)
    defer {
      sqlite3_reset(statement)
      sqlite3_clear_bindings(statement)
    }
    for (index, value) in values.enumerated() {
      if case .text(let text) = value, text.utf8.count > CInt.max {
        throw Failure(code: SQLITE_TOOBIG, text: "string or blob too big")
      }
      let code =
        switch value {
        case .int(let number): sqlite3_bind_int64(statement, CInt(index + 1), number)
        case .text(let text): csqlite_bind_text(statement, CInt(index + 1), text, CInt(text.utf8.count))
        case .null: sqlite3_bind_null(statement, CInt(index + 1))
        }
      guard code == SQLITE_OK else { throw failure() }
    }
    while true {
      switch sqlite3_step(statement) {
      case SQLITE_ROW: try body(Row(statement: statement))
      case SQLITE_DONE: return
      default: throw failure()
      }
    }
  }

  private func prepared(_ sql: String) throws(Failure) -> OpaquePointer {
    if let known = statements[sql] { return known }
    var statement: OpaquePointer?
    guard sqlite3_prepare_v2(try open(), sql, -1, &statement, nil) == SQLITE_OK, let statement else { throw failure() }
    statements[sql] = statement
    return statement
  }

  /// Runs `body` as one transaction: all of it is in the file afterwards, or nothing.
  func transaction(_ body: () throws(Failure) -> Void) throws(Failure) {
    try execute("BEGIN IMMEDIATE")
    do throws(Failure) {
      try body()
      try execute("COMMIT")
    } catch {
      // After some errors SQLite has rolled back itself.
      if sqlite3_get_autocommit(handle) == 0 { try? execute("ROLLBACK") }
      throw error
    }
  }

  private func failure() -> Failure {
    Failure(code: sqlite3_extended_errcode(handle), text: String(cString: sqlite3_errmsg(handle)))
  }

  /// A row of a result, as long as the next one is not asked for.
  struct Row {
    fileprivate let statement: OpaquePointer

    func int(_ column: CInt) -> Int64 { sqlite3_column_int64(statement, column) }

    func text(_ column: CInt) -> String? {
      guard let bytes = sqlite3_column_text(statement, column) else { return nil }
      let count = Int(sqlite3_column_bytes(statement, column))
      return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
    }
  }
}
