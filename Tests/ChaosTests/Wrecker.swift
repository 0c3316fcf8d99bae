// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import TestSupport

/// Whoever does the faults, and undoes them.
struct Wrecker {
  let stage: Stage
  /// After so many kills of agents the plugin is loaded anew: it waits for twice as long before each next start, up to 30 s.
  private static let agentKills = 4

  /// Does faults until then; returns when all of them are over.
  func run(_ dice: Dice, until end: ContinuousClock.Instant) async throws {
    var dice = dice
    var agentKills = 0
    try await withThrowingDiscardingTaskGroup { group in
      while ContinuousClock.now < end {
        let fault = Fault(&dice, stage.abilities)
        try await Task.sleep(for: .seconds(fault.pause))
        if fault.kind == .killAgent { agentKills += 1 }
        if fault.kind == .reloadPlugin || agentKills > Self.agentKills {
          agentKills = 0
          if await stage.gate.close() { group.addTask { try await reload() } }
          if fault.kind == .reloadPlugin { continue }
        }
        if let healing = try await perform(fault) { group.addTask { try await healing() } }
      }
    }
    try await stage.forwarder.set(.pass)
  }

  private typealias Healing = @Sendable () async throws -> Void

  /// - Returns: what undoes it, when it is time.
  private func perform(_ fault: Fault) async throws -> Healing? {
    switch fault.kind {
    case .killAgent, .killSSH, .killRelay, .stopAgent, .stopSSH, .stopRelay: await strike(fault)
    case .killTarget: await killTarget(fault)
    case .killOrigin: await killOrigin(fault)
    case .stopOrigin: await stop(stage.origin, fault)
    case .stopTarget:
      await stop(target(fault).keeper, fault, target(fault).place.label)
    case .cut, .cutInMessage, .stallRequests, .stallAnswers, .halfOpen, .refuse: try await tamper(fault)
    case .fillDisk: await fillDisk(fault)
    case .reloadPlugin: nil
    }
  }

  private func target(_ fault: Fault) -> Stage.Target {
    stage.targets[Int(fault.victim % UInt64(stage.targets.count))]
  }

  // MARK: Processes

  private static let kinds: [Fault.Kind: ProcessTable.Kind] = [
    .killAgent: .agent, .stopAgent: .agent, .killSSH: .ssh, .stopSSH: .ssh, .killRelay: .relay, .stopRelay: .relay,
  ]

  /// Kills or stops the agent, an ssh or a relay, if there is one.
  private func strike(_ fault: Fault) async -> Healing? {
    guard let kind = Self.kinds[fault.kind] else { return nil }
    let candidates = stage.processes.all(kind)
    guard !candidates.isEmpty else { return nil }
    let victim = candidates[Int(fault.victim % UInt64(candidates.count))]
    let duration = fault.kind.isStop ? fault.duration : 0
    // An agent that was stopped may find that its own time is over for any target.
    if kind != .agent || fault.kind.isStop {
      await stage.chronicle.trouble(kind == .agent ? stage.labels : [Stage.far], for: duration)
    }
    guard victim.signal(fault.kind.isStop ? SIGSTOP : SIGKILL) else { return nil }
    await stage.chronicle.count(fault.kind)
    guard fault.kind.isStop else { return nil }
    return {
      try await Task.sleep(for: .seconds(duration))
      victim.signal(SIGCONT)
    }
  }

  private func stop(_ keeper: Keeper, _ fault: Fault, _ label: String? = nil) async -> Healing? {
    guard let pid = await keeper.pid else { return nil }
    if let label { await stage.chronicle.trouble([label], for: fault.duration) }
    guard kill(pid, SIGSTOP) == 0 else { return nil }
    await stage.chronicle.count(fault.kind)
    return {
      try await Task.sleep(for: .seconds(fault.duration))
      // Another instance needs no encouragement, and does not mind it.
      await keeper.signal(SIGCONT)
    }
  }

  // MARK: Instances

  private func killTarget(_ fault: Fault) async -> Healing? {
    let target = target(fault)
    let label = target.place.label
    await stage.chronicle.trouble([label], for: fault.duration)
    guard let starts = await target.keeper.kill(for: fault.duration) else { return nil }
    await stage.chronicle.killed(label, isDurable: stage.isDurable)
    await stage.chronicle.count(fault.kind)
    return {
      await target.keeper.waitUntilStarted(starts)
      await stage.chronicle.trouble([label])
    }
  }

  private func killOrigin(_ fault: Fault) async -> Healing? {
    guard await stage.gate.close() else { return nil }
    guard let starts = await stage.origin.kill(for: fault.duration) else {
      await stage.gate.open()
      return nil
    }
    await stage.chronicle.count(fault.kind)
    return {
      await stage.origin.waitUntilStarted(starts)
      await stage.gate.waitUntilEmpty()
      try await stage.prepareOrigin()
      await stage.gate.open()
    }
  }

  /// Fills the disk of an instance's state.
  private func fillDisk(_ fault: Fault) async -> Healing? {
    let keepers = [stage.origin] + stage.targets.map(\.keeper)
    let keeper = keepers[Int(fault.victim % UInt64(keepers.count))]
    guard let directory = keeper.stateDirectory else { return nil }
    let disk = Disk(path: directory)
    await stage.chronicle.trouble(stage.labels.intersection([keeper.name]), for: fault.duration)
    guard disk.fill() else { return nil }
    await stage.chronicle.count(fault.kind)
    return {
      try await Task.sleep(for: .seconds(fault.duration))
      disk.makeRoom()
    }
  }

  /// Removes the plugin and loads it again.
  private func reload() async throws {
    await stage.gate.waitUntilEmpty()
    _ = try await stage.verb("jobtap", "remove", "delegate.so")
    try await stage.loadPlugin()
    await stage.chronicle.count(.reloadPlugin)
    await stage.gate.open()
  }

  // MARK: Connections

  private func tamper(_ fault: Fault) async throws -> Healing? {
    let forwarder = stage.forwarder
    let isMoment = fault.kind == .cut
    await stage.chronicle.trouble([Stage.wire], for: isMoment ? 0 : fault.duration)
    await stage.chronicle.count(fault.kind)
    switch fault.kind {
    case .cut:
      try await forwarder.cut()
      return nil
    case .cutInMessage:
      let way: Forwarder.Way = fault.victim.isMultiple(of: 2) ? .requests : .answers
      try await forwarder.set(.cut(part: fault.part), [way])
    case .stallRequests: try await forwarder.set(.stall, [.requests])
    case .stallAnswers: try await forwarder.set(.stall, [.answers])
    case .halfOpen: try await forwarder.loseFarHalves()
    case .refuse:
      try await forwarder.refuse(true)
      try await forwarder.cut()
    default: return nil
    }
    let losesBytes = fault.kind == .halfOpen
    return {
      try await Task.sleep(for: .seconds(fault.duration))
      // Neither must one whose other half has gone.
      if losesBytes { try await forwarder.cut() }
      try await forwarder.refuse(false)
      try await forwarder.set(.pass)
    }
  }
}
