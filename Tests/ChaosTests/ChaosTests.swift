// SPDX-License-Identifier: LGPL-3.0-only

import Foundation
import Glibc
import TestSupport
import Testing

/// Real processes, that are killed, stopped and cut off, in an order that a seed decides; and what has become of every job.
///
/// `FD_CHAOS_SECONDS` says for how long (10), `FD_CHAOS_SEED` repeats a run's decisions.
@Suite(.serialized) struct ChaosTests {
  /// How long everything may take to end when nothing goes wrong any more: a target's back-off is up to 60 s.
  private static let patience = Duration.seconds(240)

  private static func setting(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  @Test func everyJobRunsOnce() async throws {
    let seconds = Self.setting("FD_CHAOS_SECONDS").flatMap { Double($0) } ?? 10
    let seed = Self.setting("FD_CHAOS_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 0..<1_000_000)
    print("chaos: FD_CHAOS_SEED=\(seed), \(seconds) s")
    guard SSHServer.isThere else {
      print("chaos: there is no sshd: no target is reached through ssh")
      return try await run(seed, seconds, server: nil)
    }
    try await SSHServer.withServer { try await run(seed, seconds, server: $0) }
  }

  private func run(_ seed: UInt64, _ seconds: Double, server: SSHServer?) async throws {
    let directory = try temporaryDirectory("chaos")
    defer { if Self.setting("FD_CHAOS_KEEP") == nil { remove(directory) } }
    let help = try await TestSupport.run([Build.executable, "help", "start"])
    let isDurable = help.out.contains("--statedir")
    if !isDurable { print("chaos: instances keep nothing on disk: the origin is not killed, targets seldom") }
    var environment = ["FLUX_SSH_RCMD": Build.executable, "PATH": Build.directory + ":" + currentPath]
    environment.merge(server?.environment ?? [:]) { $1 }
    let origin = Keeper("origin", in: directory, isDurable: isDurable, environment: environment)
    let near = Keeper("near", in: directory, isDurable: isDurable)
    let wire = Keeper("wire", in: directory, isDurable: isDurable)
    let far = server.map { _ in Keeper("far", in: directory, isDurable: isDurable) }
    let keepers = [origin, near, wire] + (far.map { [$0] } ?? [])
    let disks = keepers.compactMap(\.stateDirectory).map { Disk(path: $0) }
    var haveDisks = !disks.isEmpty
    for disk in disks { if try await !disk.make() { haveDisks = false } }
    if !disks.isEmpty, !haveDisks { print("chaos: no disk can be made here: none is filled") }
    let outcome: Result<Void, any Error>
    do {
      try await run(seed, seconds, directory, keepers, server, haveDisks: haveDisks)
      outcome = .success(())
    } catch { outcome = .failure(error) }
    for disk in disks where Self.setting("FD_CHAOS_KEEP") == nil { try await disk.remove() }
    try outcome.get()
  }

  private func run(
    _ seed: UInt64, _ seconds: Double, _ directory: String, _ keepers: [Keeper], _ server: SSHServer?, haveDisks: Bool
  ) async throws {
    let (near, wire) = (keepers[1], keepers[2])
    let path = "\(directory)/forwarder"
    try await Forwarder.withForwarder(path, to: wire.socket) { forwarder in
      var targets = [
        Stage.Target(keeper: near, place: .init(label: "near", uri: "local://\(near.socket)")),
        Stage.Target(keeper: wire, place: .init(label: Stage.wire, uri: "local://\(path)")),
      ]
      if let far = keepers.dropFirst(3).first, let server {
        let uri = server.uri(of: "local://\(far.socket)")
        targets.append(Stage.Target(keeper: far, place: .init(label: Stage.far, uri: uri)))
      }
      let stage = Stage(
        directory: directory, origin: keepers[0], targets: targets, forwarder: forwarder,
        isDurable: near.stateDirectory != nil, haveDisks: haveDisks)
      try await withThrowingTaskGroup(of: Void.self) { group in
        for keeper in keepers { group.addTask { try await keeper.run() } }
        do {
          for keeper in keepers { await keeper.waitUntilStarted(1) }
          try await play(stage, seed, seconds)
        } catch {
          for keeper in keepers { await keeper.stop() }
          throw error
        }
        for keeper in keepers { await keeper.stop() }
        try await group.waitForAll()
      }
    }
    await nothingIsLeft(ProcessTable(directory: directory))
  }

  private func play(_ stage: Stage, _ seed: UInt64, _ seconds: Double) async throws {
    let start = ContinuousClock.now
    try await stage.prepareOrigin()
    try await stage.waitForAgent()
    let end = start + .seconds(seconds)
    var dice = Dice(seed: seed)
    let forFaults = Dice(seed: dice.next())
    let forJobs = Dice(seed: dice.next())
    let owners = Owners(stage: stage)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { await owners.watch() }
      group.addTask { await stage.diary.follow(stage.origin.asker) }
      try await withThrowingTaskGroup(of: Void.self) { work in
        work.addTask { await owners.run(forJobs, until: end) }
        work.addTask { try await Wrecker(stage: stage).run(forFaults, until: end) }
        try await work.waitForAll()
      }
      group.cancelAll()
    }
    try await stage.waitForAgent()
    await settle(stage, owners)
    let evidence = try await Collector(stage: stage).evidence()
    let report = Report(seed: seed, evidence)
    let counts = report.counts(
      await stage.chronicle.counts, seconds: Int((ContinuousClock.now - start).components.seconds))
    print(counts)
    let refusals = await stage.ledger.refusals
    #expect(refusals.isEmpty, "FD_CHAOS_SEED=\(seed): not accepted: \(refusals.prefix(5))")
    for failure in await report.failures(stage.diary).prefix(20) { Issue.record("\(failure)") }
    try await look(stage, at: evidence)
    await nothingIsLeaked(stage)
  }

  /// Waits until no job is active, at home or at a target; those that stay are found by the checker.
  private func settle(_ stage: Stage, _ owners: Owners) async {
    let end = ContinuousClock.now + Self.patience
    while ContinuousClock.now < end {
      await owners.look(hope: 0)
      var active = await stage.ledger.active.count
      for target in stage.targets {
        active +=
          (try? await target.keeper.asker.withConnection { try await Asker.jobs($0, areActive: true).count }) ?? 1
      }
      if active == 0 { return }
      try? await Task.sleep(for: .milliseconds(200))
    }
  }

  /// What the command line shows of a few jobs is what the evidence says.
  private func look(_ stage: Stage, at evidence: [Evidence]) async throws {
    let good = evidence.filter {
      !$0.plan.isHandOff && $0.plan.lines > 0 && $0.marks == 1 && $0.events.first("finish") != nil
        && Checker.judge($0) == Finding(verdict: .ran)
    }
    for sample in good.suffix(5) {
      let listed = try await stage.verb("jobs", "-a", "-n", "--name=\(sample.plan.name)", "-o", "{id}")
      let attached = try await stage.verb("job", "attach", listed.out.trimmed)
      #expect(
        attached.code == Int32(sample.plan.exitCode) && attached.out == sample.plan.output,
        "\(sample.plan.name): \(attached)")
    }
  }

  /// One agent, one ssh and one relay a target: others that were there are gone.
  private func nothingIsLeaked(_ stage: Stage) async {
    let table = stage.processes
    func counts() -> [Int] { [.agent, .ssh, .relay].map { table.all($0).count } }
    let limit = ContinuousClock.now + .seconds(120)
    func isGood(_ counts: [Int]) -> Bool { counts[0] == 1 && counts[1] <= 1 && counts[2] <= 1 }
    while !isGood(counts()), ContinuousClock.now < limit { try? await Task.sleep(for: .milliseconds(200)) }
    #expect(isGood(counts()), "agents, sshs, relays: \(counts()): \(table.all().map(\.command))")
  }

  /// When all instances have been stopped nothing of the run is left.
  private func nothingIsLeft(_ table: ProcessTable) async {
    let limit = ContinuousClock.now + .seconds(120)
    while !table.all().isEmpty, ContinuousClock.now < limit { try? await Task.sleep(for: .milliseconds(100)) }
    let left = table.all()
    #expect(left.isEmpty, "left over: \(left.map(\.command))")
    for process in left { process.signal(SIGKILL) }
  }
}
