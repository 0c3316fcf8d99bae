// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc

/// The service `0-shell-ID`: what clients ask the shell of a running job.
extension JobRun {
  func handle(_ request: Request) throws(ServiceError) {
    switch request.method {
    case "stdin": try takeInput(request)
    case "proctable": broker.respond(request, try processTable())
    default: throw Broker.unknownMethod(request)
    }
  }

  // MARK: Processes

  private func processTable() throws(ServiceError) -> JSON {
    // As when a Flux shell's job ends meanwhile.
    guard hasStarted else { throw ServiceError(.canceled) }
    let command = job.jobspec.command.first ?? ""
    var table = ProcessTable()
    for task in tasks {
      let rank = job.resources?.ranks.dropFirst(task.layout.node).first?.rank ?? 0
      table.append(
        host: task.layout.host, executable: template.render(command, task.layout), id: task.layout.rank,
        pid: Int(task.pid), rank: rank)
    }
    return table.json
  }

  // MARK: Standard input

  private func takeInput(_ request: Request) throws(ServiceError) {
    let rank = request.payload["rank"]?.stringValue ?? "all"
    let targets = rank == "all" ? nil : try? IDSet(parsing: rank)
    let bytes: [UInt8]
    let data = request.payload["data"]?.stringValue ?? ""
    if request.payload["encoding"]?.stringValue == "base64" {
      guard let decoded = try? Base64.decode(data) else { throw .malformed(request.topic, "data") }
      bytes = decoded
    } else {
      bytes = Array(data.utf8)
    }
    let chosen = tasks.indices.filter { targets?.contains(tasks[$0].layout.rank) ?? true }
    guard chosen.allSatisfy({ tasks[$0].unwritten.count + bytes.count <= Self.maximumInput }) else {
      throw ServiceError(
        .busy, "a task that does not read has \(Self.maximumInput >> 20) MiB of standard input waiting")
    }
    for index in chosen where tasks[index].input >= 0 {
      tasks[index].unwritten += bytes
      if request.payload["eof"]?.boolValue == true { tasks[index].endsInput = true }
      write(index)
    }
    broker.respond(request)
  }

  /// Writes what the pipe takes now, and the rest a little later.
  private func write(_ index: Int) {
    var written = 0
    tasks[index].unwritten.withUnsafeBytes { bytes in
      while written < bytes.count {
        let count = Glibc.write(tasks[index].input, bytes.baseAddress?.advanced(by: written), bytes.count - written)
        if count <= 0 { break }
        written += count
      }
    }
    let isBroken = written < tasks[index].unwritten.count && errno != EAGAIN && errno != EINTR
    tasks[index].unwritten.removeFirst(written)
    if isBroken || (tasks[index].unwritten.isEmpty && tasks[index].endsInput) { return closeInput(index) }
    guard !tasks[index].unwritten.isEmpty, !tasks[index].isRetryDue else { return }
    tasks[index].isRetryDue = true
    _ = broker.after(Self.inputRetry) { [weak self] in
      guard let self, !isFinished else { return }
      tasks[index].isRetryDue = false
      if tasks[index].input >= 0 { write(index) }
    }
  }

  func closeInput(_ index: Int) {
    guard tasks[index].input >= 0 else { return }
    Glibc.close(tasks[index].input)
    tasks[index].input = -1
    tasks[index].unwritten = []
  }
}
