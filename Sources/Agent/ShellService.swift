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

  /// How many streams of one job, such as terminals, are passed on at once; those that come then are refused.
  static let maximumStreams = 64

  /// Serves until cancelled.
  func run(_ requests: AsyncStream<Message>, _ shell: Shell) async {
    let streams = ClientStreams(Self.maximumStreams)
    await withDiscardingTaskGroup { group in
      for await request in requests {
        guard Self.mayAsk(request) else {
          await origin.respond(to: request, errnum: Errnum.notPermitted.rawValue)
          continue
        }
        if request.topic == "\(name).disconnect" { streams.drop(request.routes ?? []) }
        // One after the other: standard input has an order.
        guard request.options.contains(.streaming) else {
          await forward(request, shell)
          continue
        }
        guard let (number, gone) = streams.begin(request.routes ?? []) else {
          let words = "\(Self.maximumStreams) streams go to the job's shell already"
          await origin.respond(to: request, errnum: Errnum.again.rawValue, text: words)
          continue
        }
        group.addTask {
          await self.stream(request, shell, until: gone)
          streams.end(request.routes ?? [], number)
        }
      }
      group.cancelAll()
    }
    await origin.withdraw(name)
  }

  private func stream(_ request: Message, _ shell: Shell, until gone: AsyncStream<Never>) async {
    await withTaskGroup(of: Void.self) { group in
      group.addTask { await stream(request, shell) }
      group.addTask { for await _ in gone {} }
      await group.next()
      group.cancelAll()
    }
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
      let stream = await target.stream(
        topic(request, shell), payload, node: shell.rank, buffering: .bounded(4096, bytes: 8 << 20))
      for try await response in stream {
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
