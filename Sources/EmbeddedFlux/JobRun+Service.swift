// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc

/// The service `0-shell-ID`: what clients ask the shell of a running job.
extension JobRun {
  /// The name of a job's service.
  static func service(of id: JobID) -> String { "0-shell-\(id.encoded(.f58plain))" }

  var topics: [String] {
    ["stdin", "proctable", "terminus.list", "terminus.0"].map { "\(Self.service(of: job.id)).\($0)" }
  }

  func handle(_ request: Request) throws(ServiceError) {
    switch request.method {
    case "stdin": try takeInput(request)
    case "proctable": broker.respond(request, try processTable())
    case "terminus.list": try listTerminals(request)
    default:
      guard request.method.hasPrefix("terminus."), let rank = Int(request.method.dropFirst(9)),
        tasks.indices.contains(rank), let terminal = tasks[rank].terminal, !terminal.isOver
      else { throw Broker.unknownMethod(request) }
      try terminal.handle(request)
    }
  }

  func disconnect(_ departure: Departure) {
    for task in tasks { task.terminal?.drop(departure) }
  }

  /// Flux's shell has a terminal server in every job; here it is there where there are terminals.
  private func listTerminals(_ request: Request) throws(ServiceError) {
    guard options?.terminal != nil else { throw Broker.unknownMethod(request) }
    let sessions = tasks.compactMap { task in
      task.terminal.flatMap { $0.isOver ? nil : $0.listing(task.layout.rank) }
    }
    let service = "\(Self.service(of: job.id)).terminus"
    broker.respond(
      request,
      [
        "sessions": .array(sessions),
        "server": ["service": .string(service), "rank": 0, "ctime": .double(job.times[.run] ?? 0)],
      ])
  }

  // MARK: Processes

  private func processTable() throws(ServiceError) -> JSON {
    // As when a Flux shell's job ends meanwhile.
    guard hasStarted else { throw ServiceError(.canceled) }
    let command = job.jobspec.command.first ?? ""
    // What has been started has a name of a file's length.
    let limit = JobTemplate.maximumPath
    var table = ProcessTable()
    for task in tasks {
      let rank = job.resources?.ranks.dropFirst(task.layout.node).first?.rank ?? 0
      table.append(
        host: task.layout.host, executable: template.render(command, task.layout, upTo: limit) ?? "",
        id: task.layout.rank,
        pid: Int(task.pid), rank: rank)
    }
    return table.json
  }

  // MARK: Standard input

  private func takeInput(_ request: Request) throws(ServiceError) {
    // As from a Flux shell that is no more, there is no answer.
    guard !hasDied else { return }
    // Where the input comes from a file, Flux's shell has no such method; and none at all before it has started its tasks.
    guard files?.inputPath == nil, !tasks.isEmpty else { throw Broker.unknownMethod(request) }
    guard tasks.contains(where: { !$0.endsInput }) else { throw ServiceError(.brokenPipe) }
    let input = try Input(request.payload)
    var chosen = Array(tasks.indices)
    if input.rank != "all" {
      guard let ranks = try? IDSet(parsing: input.rank) else { throw ServiceError(.invalid) }
      guard ranks.last ?? 0 < tasks.count else { throw ServiceError(.brokenPipe) }
      chosen = Array(ranks)
      guard chosen.allSatisfy({ !tasks[$0].endsInput }) else { throw ServiceError(.brokenPipe) }
    }
    let isTooMuch = chosen.contains { (tasks[$0].writer?.waiting ?? 0) + input.bytes.count > Self.maximumInput }
    guard !isTooMuch else {
      throw ServiceError(
        .busy, "a task that does not read has \(Self.maximumInput >> 20) MiB of standard input waiting")
    }
    guard keep(input) else { return }
    for index in chosen {
      if !tasks[index].endsInput { write(input, to: index) }
      if input.isEnd { tasks[index].endsInput = true }
    }
    broker.respond(request)
  }

  /// What a client sends.
  private struct Input {
    var rank: String
    var bytes: [UInt8]
    var isEnd: Bool
    /// Its entry in the log.
    var context: JSONObject = [:]

    init(_ payload: JSON) throws(ServiceError) {
      guard payload["stream"]?.stringValue != nil, let rank = payload["rank"]?.stringValue else {
        throw ServiceError(.protocolError)
      }
      let data = payload["data"]
      let end = payload["eof"]
      guard data != nil || end != nil, data == nil || data?.stringValue != nil, end == nil || end?.boolValue != nil
      else { throw ServiceError(.protocolError) }
      self.rank = rank
      isEnd = end?.boolValue ?? false
      let text = data?.stringValue ?? ""
      if payload["encoding"]?.stringValue == "base64" {
        guard let decoded = try? Base64.decode(text) else { throw ServiceError(.protocolError) }
        bytes = decoded
      } else {
        bytes = Array(text.utf8)
      }
      for key in ["stream", "rank", "encoding", "data", "eof"] { context[key] = payload[key] }
    }
  }

  /// Puts input into the job's log. Returns false when it is too much for the job, which ends then.
  private func keep(_ input: Input) -> Bool {
    let size = JSON.object(input.context).text.utf8.count
    switch inputLog?.add(bytes: input.bytes.count, size: size) {
    case .keep?: tell(self, .input("data", input.context))
    case .pass(true)?:
      tell(
        self,
        .dropped(
          component: "input",
          "the log of standard input has \(InputLog.maximum >> 20) MiB; what follows goes to the tasks alone"))
    case .pass(false)?, nil: break
    case .refuse(let words)?:
      die("input.util", words)
      return false
    }
    return true
  }

  private func write(_ input: Input, to index: Int) {
    guard tasks[index].input >= 0 else { return }
    let writer =
      tasks[index].writer
      ?? DescriptorWriter(tasks[index].input, broker) { [weak self] in self?.closeInput(index) }
    tasks[index].writer = writer
    writer.write(input.bytes, isLast: input.isEnd)
  }

  func closeInput(_ index: Int) {
    tasks[index].writer?.stop()
    tasks[index].writer = nil
    guard tasks[index].input >= 0 else { return }
    Glibc.close(tasks[index].input)
    tasks[index].input = -1
  }
}
