// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire

#if canImport(Glibc)
  import Glibc
#endif

/// Stands at the origin for the shell of a remote job: what clients send to it (standard input, a terminal) goes to the remote shell, and its
/// answers come back.
struct ShellService: Sendable {
  /// A job shell's service, as its event `shell.init` names it.
  struct Shell: Sendable {
    var service: String
    var rank: UInt32

    init?(_ entry: EventlogEntry) {
      guard entry.name == "shell.init", let service = entry.context?["service"]?.stringValue,
        let rank = entry.context?["leader-rank"]?.intValue
      else { return nil }
      self.service = service
      self.rank = UInt32(truncatingIfNeeded: rank)
    }
  }

  let origin: FluxConnection
  let target: FluxConnection
  /// The service's name at the origin.
  let name: String
  let log: OriginLog

  /// Offers the service. Nil when that is not possible: then the job goes on without.
  func open() async -> AsyncStream<Message>? {
    do { return try await origin.serve(name) } catch {
      log.warning("standard input cannot reach the remote job: service.add \(name): \(error)")
      return nil
    }
  }

  /// Serves until cancelled.
  func run(_ requests: AsyncStream<Message>, _ shell: Shell) async {
    await withDiscardingTaskGroup { group in
      for await request in requests {
        guard Self.mayAsk(request) else {
          await origin.respond(to: request, errnum: Errnum.notPermitted.rawValue)
          continue
        }
        // One after the other: standard input has an order.
        if request.options.contains(.streaming) {
          group.addTask { await self.stream(request, shell) }
        } else {
          await forward(request, shell)
        }
      }
      group.cancelAll()
    }
    await origin.withdraw(name)
  }

  /// As a shell does (flux-core `shell/svc.c`): the agent has the owner's rights at the target, so nobody else may speak through it.
  static func mayAsk(_ request: Message) -> Bool {
    request.roleMask & ownerRole != 0 || request.userID == getuid()
  }

  /// FLUX_ROLE_OWNER (RFC 12).
  private static let ownerRole: UInt32 = 1

  private func topic(_ request: Message, _ shell: Shell) -> String {
    shell.service + (request.topic ?? "").dropFirst(name.utf8.count)
  }

  private func forward(_ request: Message, _ shell: Shell) async {
    do {
      let payload = try request.json()
      if request.options.contains(.noResponse) {
        return await target.notify(topic(request, shell), payload, node: shell.rank)
      }
      let answer = try await target.rpc(topic(request, shell), payload, node: shell.rank)
      await origin.respond(to: request, answer)
    } catch { await fail(request, error) }
  }

  private func stream(_ request: Message, _ shell: Shell) async {
    do {
      let payload = try request.json()
      for try await response in await target.stream(topic(request, shell), payload, node: shell.rank) {
        await origin.respond(to: request, try response.json())
      }
      await origin.respond(to: request, errnum: Errnum.noData.rawValue)
    } catch { await fail(request, error) }
  }

  private func fail(_ request: Message, _ error: any Error) async {
    switch error {
    case let error as RPCError: await origin.respond(to: request, errnum: error.errnum, text: error.text)
    // The job has ended meanwhile: as at home, its shell is not there any more.
    case is CancellationError: await origin.respond(to: request, errnum: Errnum.notImplemented.rawValue)
    default: await origin.respond(to: request, errnum: Errnum.connectionReset.rawValue, text: "\(error)")
    }
  }
}
