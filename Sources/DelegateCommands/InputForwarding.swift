// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

/// Sends standard input to a job's shell.
struct InputForwarding: Sendable {
  /// Who takes it.
  var service: AttachSession.ShellService
  /// The tasks that get it; nil is all.
  var ranks: IDSet?
  /// The tasks whose input is closed at once.
  var closedRanks = IDSet()
  var connection: FluxConnection
  var context: CommandContext

  /// As much as Flux's own command sends at once.
  private static let chunk = 1 << 17

  /// Forwards until the end of the input, which is forwarded too.
  ///
  /// - Throws: ``CommandFailure`` when the job does not take standard input and there was some.
  func run() async throws {
    let input = try StandardInput(context.input)
    var hasSent = false
    if !closedRanks.isEmpty {
      do { try await send([], to: closedRanks) } catch let error as RPCError {
        throw CommandFailure("failed to close stdin for \(closedRanks): \(error)")
      }
    }
    while true {
      let bytes = await input.next(atMost: Self.chunk)
      try Task.checkCancellation()
      if !bytes.isEmpty { hasSent = true }
      do { try await send(bytes, to: ranks) } catch let error as RPCError {
        // The job has ended, reads a file, or has its input closed already: no harm unless data is lost.
        guard error.errnum == Errnum.notImplemented.rawValue else {
          throw CommandFailure("cannot send standard input: \(error)")
        }
        if hasSent { throw CommandFailure("stdin not accepted by job") }
        return
      }
      if bytes.isEmpty { return }
    }
  }

  /// Sends bytes; none is the end.
  private func send(_ bytes: [UInt8], to ranks: IDSet?) async throws {
    var payload: JSON = ["stream": "stdin", "rank": .string(ranks?.description ?? "all")]
    if bytes.isEmpty {
      payload["eof"] = true
    } else if let text = String(validating: bytes, as: UTF8.self) {
      payload["data"] = .string(text)
    } else {
      payload["data"] = .string(Base64.encode(bytes))
      payload["encoding"] = "base64"
    }
    try await connection.rpc("\(service.name).stdin", payload, node: service.rank)
  }
}
