// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Chooses a target for a job, among those that the origin's configuration names and that take jobs at this moment.
struct Chooser: Sendable {
  let settings: Settings
  let pool: TargetPool
  let governor: TargetGovernor
  let id: JobID

  /// - Parameter isReachable: whether the target has to be connected when it is chosen.
  func choose(
    _ request: DelegationRequest, excluding tried: Set<FluxURI>, isReachable: Bool
  ) async -> DelegatedJob.Event {
    // Whoever comes between the look and the choice may take the last place; then it is looked again.
    while true {
      let candidates: [Target]
      do {
        candidates = try await settings.targets.candidates(for: request).filter { !tried.contains($0.uri) }
      } catch { return .unchoosable("\(error)") }
      guard !candidates.isEmpty else { return .unchoosable("delegate: no target is left to try") }
      var (open, words) = governor.open(candidates, for: id, waits: !isReachable)
      if isReachable { open = await connected(open) }
      guard let first = open.first else { return .deferred(words) }
      let choice: DelegatedJob.Event
      switch request.selection {
      case .leastPending: choice = await best(open, "pending jobs") { try await $0.pendingJobs() }
      case .shortestMatch: choice = await best(open, "a scheduler's matching time") { try await $0.matchTime() }
      case .random: choice = .chosen(open.randomElement() ?? first)
      case .uri, .index, .label, .inOrder: choice = .chosen(first)
      }
      guard case .chosen(let target) = choice, governor.admit(id, to: target, waits: !isReachable) != nil else {
        return choice
      }
      if Task.isCancelled { return .unchoosable("delegate: the agent stops") }
    }
  }

  /// How long a target may take to be connected when others have been asked as well. Its answer may take 5 s more.
  private static let patience = Duration.seconds(5)

  /// Those that are connected, or can be.
  private func connected(_ targets: [Target]) async -> [Target] {
    let pool = pool
    let answers = await targets.askedAtOnce { (try? await pool.target($0.uri, within: Self.patience)) != nil }
    return zip(targets, answers).filter(\.1).map(\.0)
  }

  /// Asks every target at once, and takes the one with the lowest answer; the first of several. Those that do not answer are
  /// left out; when none does, the words say why.
  private func best(
    _ targets: [Target], _ what: String, _ ask: @escaping @Sendable (FluxTarget) async throws -> Double
  ) async -> DelegatedJob.Event {
    let pool = pool
    let answers = await targets.askedAtOnce { target -> Result<Double, TargetFailure> in
      do { return .success(try await ask(try await pool.target(target.uri, within: Self.patience))) } catch {
        return .failure(FluxTarget.failure(error, target.name))
      }
    }
    let known = zip(targets, answers).compactMap { target, result in (try? result.get()).map { (target, $0) } }
    // The first of several.
    if let least = known.min(by: { $0.1 < $1.1 }) { return .chosen(least.0) }
    let words = answers.map { result -> String in
      if case .failure(let error) = result { return "\(error)" }
      return ""
    }
    return .unchoosable("delegate: no target tells \(what): \(words.joined(separator: "; "))")
  }
}
