// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Chooses a target among those that the origin's configuration names at this moment.
struct Chooser: Sendable {
  let origin: FluxConnection
  let pool: TargetPool

  func choose(_ selection: DelegationRequest.Selection) async -> DelegatedJob.Event {
    let list: TargetList
    do {
      list = try TargetList(configuration: try await origin.rpc("config.get"))
      if let target = try list.named(selection) { return .chosen(target) }
    } catch let error as RequestError {
      return .unchoosable(error.message)
    } catch { return .unreachable(FluxTarget.failure(error, origin.peer)) }
    switch selection {
    case .leastPending: return await best(list, "pending jobs") { try await $0.pendingJobs() }
    case .shortestMatch: return await best(list, "a scheduler's matching time") { try await $0.matchTime() }
    default:
      return list.targets.randomElement().map { .chosen($0) } ?? .unchoosable("delegate: no targets are configured")
    }
  }

  /// Asks every target at once, and takes the one with the lowest answer; the first of several. Those that do not answer are
  /// left out; when none does, the words say why.
  private func best(
    _ list: TargetList, _ what: String, _ ask: @escaping @Sendable (FluxTarget) async throws -> Double
  ) async -> DelegatedJob.Event {
    let pool = pool
    let answers = await withTaskGroup(of: (Int, Result<Double, any Error>).self) { group in
      for (number, target) in list.targets.enumerated() {
        group.addTask {
          do { return (number, .success(try await ask(try await pool.target(target.uri)))) } catch {
            return (number, .failure(FluxTarget.failure(error, target.name)))
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    let known = answers.compactMap { number, result in (try? result.get()).map { (number, $0) } }
    if let least = known.min(by: { ($0.1, $0.0) < ($1.1, $1.0) }) { return .chosen(list.targets[least.0]) }
    let words = answers.sorted { $0.0 < $1.0 }.map { _, result -> String in
      if case .failure(let error) = result { return "\(error)" }
      return ""
    }
    return .unchoosable("delegate: no target tells \(what): \(words.joined(separator: "; "))")
  }
}
