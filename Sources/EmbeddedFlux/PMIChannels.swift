// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import NIOCore

/// The connections by which the tasks of a job speak PMI-1: each has the descriptor that `PMI_FD` names.
final class PMIChannels {
  /// The descriptor in the task.
  static let descriptor: CInt = 3

  private var server: PMIServer
  private unowned let broker: Broker
  private let surroundings: any Surroundings
  /// The program has asked for its end, or does not speak the protocol: what the shell says then.
  private let fail: (_ note: String, _ isFatal: Bool) -> Void
  /// By rank. The reactor reads from them, and closes them.
  private var sockets: [Int: CInt] = [:]
  private var hasFailed = false

  init(
    _ job: Job, _ layout: TaskLayout, _ broker: Broker, _ surroundings: any Surroundings,
    _ fail: @escaping (String, Bool) -> Void
  ) {
    self.broker = broker
    self.surroundings = surroundings
    self.fail = fail
    var values = ["flux.instance-level": "1"]
    let map = layout.map.json.text
    if map.utf8.count < PMIServer.maximumValue { values["flux.taskmap"] = map }
    values["PMI_process_mapping"] = layout.map.processMapping(limit: PMIServer.maximumValue)
    server = PMIServer(size: layout.tasks.count, name: job.id.encoded(.f58), values: values)
  }

  /// What a task finds in its environment.
  func variables(of task: TaskLayout.Task, size: Int) -> [String: String] {
    ["PMI_FD": String(Self.descriptor), "PMI_RANK": String(task.rank), "PMI_SIZE": String(size)]
  }

  /// Makes a task's connection. Returns its own end, which is to be closed once it has it.
  func open(_ rank: Int) throws(Spawn.Failure) -> CInt {
    var pair: [CInt] = [-1, -1]
    guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
      throw Spawn.Failure(errnum: errno)
    }
    sockets[rank] = pair[0]
    let box = NIOLoopBound(self, eventLoop: broker.loop)
    surroundings.watch(pipe: pair[0]) { event in box.value.receive(event, from: rank) }
    return pair[1]
  }

  func close() {
    for rank in Array(sockets.keys) { close(rank) }
  }

  private func close(_ rank: Int) {
    if let socket = sockets.removeValue(forKey: rank) { surroundings.drop(pipe: socket) }
  }

  private func receive(_ event: ProcessReactor.Event, from rank: Int) {
    guard case .read(let bytes) = event else {
      // It is closed already.
      return sockets[rank] = nil
    }
    guard sockets[rank] != nil else { return }
    for action in server.receive(bytes, from: rank) { carry(out: action) }
    if let socket = sockets[rank] { surroundings.resume(pipe: socket) }
  }

  private func carry(out action: PMIServer.Action) {
    switch action {
    case .send(let line, let rank): send(line + "\n", to: rank)
    case .close(let rank): close(rank)
    case .abort(let words): report("PMI_Abort: \(words)", isFatal: false)
    case .broken(let rank):
      close(rank)
      report("PMI-1 wire protocol error", isFatal: true)
    }
  }

  private func report(_ note: String, isFatal: Bool) {
    guard !hasFailed else { return }
    hasFailed = true
    fail(note, isFatal)
  }

  /// Answers are short, and awaited. A task that does not read them is cut off.
  private func send(_ line: String, to rank: Int) {
    guard let socket = sockets[rank] else { return }
    let bytes = Array(line.utf8)
    let count = Glibc.send(socket, bytes, bytes.count, CInt(MSG_NOSIGNAL) | CInt(MSG_DONTWAIT))
    if count != bytes.count { close(rank) }
  }
}
