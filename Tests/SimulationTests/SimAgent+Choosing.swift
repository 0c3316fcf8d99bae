// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// Chooser and TargetGovernor: which target a job goes to, and whether it takes the job now.
extension SimAgent {
  func choose(_ index: Int, _ request: DelegationRequest, _ tried: Set<FluxURI>) {
    world.after(world.delay(), "") { [self] in
      guard isAlive else { return }
      let candidates = ((try? Self.list.candidates(for: request)) ?? []).filter { !tried.contains($0.uri) }
      guard let first = candidates.first else { return feed(index, .unchoosable("no target is left")) }
      if defers(index) { return }
      guard case .random = request.selection else { return feed(index, .chosen(first)) }
      feed(index, .chosen(candidates[world.random.below(candidates.count)]))
    }
  }

  /// TargetGovernor: no target takes jobs now.
  func defers(_ index: Int) -> Bool {
    guard !world.isHealed, world.random.chance(world.faults.deferrals) else { return false }
    // The end of a refusal may overtake it.
    if world.random.chance(0.3) {
      world.after(0, "") { [self] in if isAlive { feed(index, .admissible) } }
      world.after(world.delay(), "") { [self] in if isAlive { feed(index, .deferred("as planned")) } }
      world.after(3, "") { [self] in if isAlive { feed(index, .admissible) } }
      return true
    }
    feed(index, .deferred("as planned"))
    world.after(world.random.between(0, 2), "") { [self] in if isAlive { feed(index, .admissible) } }
    return true
  }

  /// Chooser: of those that can be connected.
  func chooseReachable(_ index: Int, _ request: DelegationRequest, _ tried: Set<FluxURI>) {
    let candidates = ((try? Self.list.candidates(for: request)) ?? []).filter { !tried.contains($0.uri) }
    guard !candidates.isEmpty else { return feed(index, .unchoosable("no target is left")) }
    var left = candidates.count
    var found: [Target] = []
    for candidate in candidates {
      withTarget(candidate.uri) { [self] result in
        if case .success = result { found.append(candidate) }
        left -= 1
        guard left == 0 else { return }
        feed(index, found.isEmpty ? .deferred("") : .chosen(found[world.random.below(found.count)]))
      }
    }
  }

  private static let list: TargetList = {
    let entries: [JSON] = (0..<3).map { ["uri": .string("local:///t\($0)"), "label": .string("t\($0)")] }
    return (try? TargetList(configuration: ["delegate": .array(entries)])) ?? TargetList()
  }()
}
