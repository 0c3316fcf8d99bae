// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import Logging
import NIOCore

/// The instance's state on disk. Lives on the instance's event loop.
///
/// Nothing leaves the instance before what it may tell of is written: every message, and every start of a process, waits for the
/// transaction with all that was changed before it. While one transaction is written the next one collects, so that many share one.
final class StateStore {
  /// How much may wait to be written. What would add to it is refused beyond, and running jobs' output is not read.
  static let maximumUnwritten = 64 << 20
  /// How much may wait to be sent. Requests are refused beyond.
  var maximumHeld = 256 << 20
  /// How soon a transaction that has failed is tried again, in seconds.
  private static let retryTime = 1.0

  private enum Waiter {
    case message(Message, client: String)
    case work(() -> Void)
  }

  private unowned let broker: Broker
  private let log: LogService
  let writer: StateWriter
  private let reader: StateReader
  private var batch = StateBatch()
  private var written: StateBatch?
  /// What makes the texts of the next transaction that are kept under names.
  private var notes: [String: () -> String] = [:]
  /// The number of the newest batch that was given to the writer.
  private var number: Int64
  private var isFlushDue = false
  private var isClosed = false
  private var waiters: [(number: Int64, waiter: Waiter)] = []
  private var head = 0
  private var heldBytes = 0
  private var heldFor: [String: Int] = [:]
  private var roomWaiters: [() -> Void] = []
  private(set) var failure: Database.Failure?
  /// Told of jobs whose submission could not be written, and was answered with an error.
  var refused: (JobID, String) -> Void = { _, _ in }

  /// Opens the database of a state directory, and makes it when it is new.
  init(_ directory: StateDirectory, _ broker: Broker, _ log: LogService) throws {
    self.broker = broker
    self.log = log
    let path = directory.databasePath
    do throws(Database.Failure) {
      if access(path, F_OK) != 0 {
        try StateSchema.make(path, epoch: broker.now())
      } else if let objection = StateSchema.objection(to: path) {
        throw Database.Failure(code: 26, text: objection)
      }
      writer = StateWriter(try StateSchema.open(path))
      reader = try StateReader(path)
      number = Int64(try reader.note("batch") ?? "") ?? 0
    } catch { throw Self.startError(path, error) }
  }

  /// What is said when the instance cannot start with what it finds.
  static func startError(_ path: String, _ failure: Database.Failure) -> EmbeddedInstance.StartError {
    let advice =
      failure.isDamage
      ? "nothing was changed; move the directory away to start without it"
      : "nothing was changed; look at its disk and permissions"
    return EmbeddedInstance.StartError("cannot use the state in \(path): \(failure.text); \(advice)")
  }

  // MARK: Changes

  /// Adds to the next transaction.
  func record(_ change: (inout StateBatch) -> Void) {
    change(&batch)
    guard !isFlushDue, written == nil else { return }
    isFlushDue = true
    // After all that this turn of the loop brings.
    broker.later { [weak self] in
      guard let self, !isClosed else { return }
      isFlushDue = false
      flush()
    }
  }

  /// Adds something to the next transaction that is kept under a name: what it is by then, so that many changes cost as much as one.
  func note(_ name: String, _ text: @escaping () -> String) {
    let isKnown = notes.updateValue(text, forKey: name) != nil
    // It has its place in the batch, which is not empty from now on.
    if !isKnown { record { $0.note(name, "") } }
  }

  private func flush() {
    guard written == nil, !batch.isEmpty else { return }
    for (name, text) in notes { batch.note(name, text()) }
    notes.removeAll()
    for name in batch.tooLong {
      log.append(level: 2, "state", "\(name): too long for the state directory: it is not kept there")
    }
    number += 1
    written = batch
    batch = StateBatch()
    write()
  }

  private func write() {
    guard let written else { return }
    let box = NIOLoopBound(self, eventLoop: broker.loop)
    let loop = broker.loop
    writer.commit(written, number: number) { failure in loop.execute { box.value.ended(failure) } }
  }

  private func ended(_ failure: Database.Failure?) {
    guard !isClosed else { return }
    if let failure {
      if self.failure == nil { fail(failure) }
      self.failure = failure
      _ = broker.after(Self.retryTime) { [weak self] in
        guard let self, !isClosed else { return }
        write()
      }
      return
    }
    if self.failure != nil { log.append(level: 5, "state", "the state directory can be written again") }
    self.failure = nil
    written = nil
    release()
    flush()
    guard hasRoom else { return }
    let waiting = roomWaiters
    roomWaiters.removeAll()
    for waiter in waiting { waiter() }
  }

  // MARK: Waiting

  /// Whether all that was changed is written, and nobody waits any more.
  var isIdle: Bool { batch.isEmpty && written == nil && head == waiters.count }

  private var next: Int64 { batch.isEmpty ? number : number + 1 }

  /// Runs something once all that was changed so far is written; at once when it is.
  func whenDurable(_ work: @escaping () -> Void) {
    if isIdle { work() } else { waiters.append((next, .work(work))) }
  }

  /// Takes a message that has to wait.
  ///
  /// - Returns: false when it need not.
  func hold(_ message: Message, for client: String) -> Bool {
    guard !isIdle else { return false }
    if failure != nil, StateGate.passes(message) { return false }
    countHeld(Self.size(message), for: client)
    waiters.append((next, .message(message, client: client)))
    return true
  }

  /// How many bytes wait for a client.
  func held(for client: String) -> Int { heldFor[client] ?? 0 }

  private func countHeld(_ bytes: Int, for client: String) {
    heldBytes += bytes
    let left = (heldFor[client] ?? 0) + bytes
    heldFor[client] = left == 0 ? nil : left
  }

  private static func size(_ message: Message) -> Int { (message.payload?.readableBytes ?? 0) + 256 }

  private func release() {
    while head < waiters.count, waiters[head].number <= number {
      let waiter = waiters[head].waiter
      head += 1
      switch waiter {
      case .work(let work): work()
      case .message(let message, let client):
        countHeld(-Self.size(message), for: client)
        broker.deliver(message, to: client)
      }
    }
    guard head > 0 else { return }
    waiters.removeFirst(head)
    head = 0
    broker.outflow.resumeAll()
  }

  private var hasRoom: Bool { batch.bytes + (written?.bytes ?? 0) < Self.maximumUnwritten }

  /// Runs something when there is room for what it will bring; at once when there is.
  func whenRoom(_ work: @escaping () -> Void) { if hasRoom { work() } else { roomWaiters.append(work) } }

  // MARK: A disk that is full, or fails

  /// Why a request cannot be taken now; nil when it can.
  func refusal(of request: Message) -> ServiceError? {
    if let failure {
      if StateGate.changes(request.topic ?? "") {
        return ServiceError(Errnum(UInt32(failure.errnum)), Self.words(failure))
      }
      // What need not wait is answered all the same.
      guard heldBytes > maximumHeld, !StateGate.isOpen(request) else { return nil }
      return ServiceError(.again, "\(Self.words(failure)), and too much waits for that; try again")
    }
    guard heldBytes > maximumHeld || (!hasRoom && StateGate.changes(request.topic ?? "")) else { return nil }
    return ServiceError(.again, "the state directory is slower than what it shall keep; try again")
  }

  private static func words(_ failure: Database.Failure) -> String {
    "the state directory cannot be written: \(failure.text); \(failure.errnum == ENOSPC ? "make room" : "look at its disk")"
  }

  /// A transaction has failed. Who has asked for a change hears of it now. The change itself stays in memory, and is tried again; a job
  /// of which nobody knows is ended before it runs.
  private func fail(_ failure: Database.Failure) {
    log.append(level: 2, "state", "\(Self.words(failure)); changes are refused until then")
    broker.logger.critical("\(Self.words(failure)); changes are refused until then")
    var ids: [JobID] = []
    let waiting = waiters[head...]
    waiters = []
    head = 0
    for (number, waiter) in waiting {
      if case .message(let message, let client) = waiter, StateGate.passes(message) {
        // What comes after it does not wait either.
        countHeld(-Self.size(message), for: client)
        broker.deliver(message, to: client)
        continue
      }
      guard case .message(var message, let client) = waiter, message.kind == .response, message.detail == 0,
        StateGate.changes(message.topic ?? "")
      else {
        waiters.append((number, waiter))
        continue
      }
      if message.topic == StateGate.submission, let id = JobID((try? message.json())?["id"]) { ids.append(id) }
      countHeld(-Self.size(message), for: client)
      message.detail = UInt32(failure.errnum)
      message.payload = Message.payload(text: Self.words(failure))
      broker.deliver(message, to: client)
    }
    for id in ids { refused(id, Self.words(failure)) }
    broker.outflow.resumeAll()
  }

  // MARK: Reading

  func read<T>(_ body: (StateReader) throws(Database.Failure) -> T) throws(Database.Failure) -> T { try body(reader) }

  /// Nothing is read or written any more.
  func close() {
    isClosed = true
    reader.close()
  }
}
