// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What goes wrong at the origin: its plugin, its job manager or all of it goes, and comes back.
extension Origin {
  private func unload() {
    pluginIsLoaded = false
    followed = []
    standing = [:]
    resources = []
    guard let agent = attached else { return }
    attached = nil
    agent.told("agent \(agent.number): the plugin is removed") { agent.crash() }
  }

  private func load() {
    pluginIsLoaded = true
    loads += 1
    for job in jobs where job.isActive {
      follow(job, isWhole: false)
      if job.state == .depend || job.state == .new, !job.dependencies.contains("delegated") {
        world.fail("job \(job.index): was not held")
      }
    }
    spawn(after: 0.02)
  }

  func reloadPlugin() {
    guard managerIsUp, pluginIsLoaded else { return }
    unload()
    world.after(world.random.between(0.01, 1), "the plugin is loaded") { [self] in
      if managerIsUp, !pluginIsLoaded { load() }
    }
  }

  func reloadManager() {
    guard managerIsUp else { return }
    unload()
    managerIsUp = false
    managers += 1
    for job in jobs { job.durable = job.eventlog.count }
    let mine = epoch
    world.after(world.random.between(0.01, 0.3), "the job manager is loaded") { [self] in
      guard epoch == mine else { return }
      for job in jobs where job.isActive {
        let isCancelled = job.isCancelled
        _ = job.replay(keeping: job.eventlog.count)
        job.isCancelled = isCancelled
      }
      restart()
    }
  }

  private func restart() {
    isUp = true
    managerIsUp = true
    load()
    for job in jobs where job.isActive {
      if job.state == .sched { record(job, "flux-restart", nil) } else { act(job, "") }
    }
  }

  func crash() {
    guard isUp else { return }
    epoch += 1
    isUp = false
    managerIsUp = false
    pluginIsLoaded = false
    followed = []
    standing = [:]
    resources = []
    attached = nil
    if let agent, agent.isAlive {
      world.after(world.random.between(0.001, 0.02), "agent \(agent.number) sees that the origin has gone") {
        agent.crash()
      }
    }
    let mine = epoch
    world.after(world.random.between(0.2, 1), "the origin is there again") { [self] in
      guard epoch == mine else { return }
      for job in jobs {
        lose(job)
        // Its namespaces are gone, and what was not moved with them.
        if !job.areLogsMoved { job.hasOutput = false }
        job.hasNamespace = false
        if let time = job.plan.dependencyUntil { world.wish(at: max(time, world.now), "") { [self] in satisfy(job) } }
      }
      if world.random.chance(0.5) { name += "'" }
      started = Self.epochTime + world.now
      restart()
    }
  }

  private func lose(_ job: OriginJob) {
    job.isCommitPlanned = false
    for entry in job.replay(keeping: job.durable) {
      world.say("job \(job.index): \(entry.name) is lost")
      switch entry.name {
      case "delegate::select": job.lostItsChoice = true
      case "urgency": job.lostItsUrgency = true
      case "delegate::submit", "delegated": job.lostItsRecord = true
      default: break
      }
    }
  }

  func heal() {
    if managerIsUp, !pluginIsLoaded { load() }
    for job in jobs {
      unhold(job)
      if job.plan.isEndless {
        world.wish(at: world.now + 2, "the owner has seen enough") { [self] in fulfil(.cancel, job) }
      }
    }
  }

  /// Owners do not hold their jobs for ever.
  private func unhold(_ job: OriginJob) {
    guard managerIsUp else { return world.wish(at: world.now + 0.1, "once more") { [unowned self] in unhold(job) } }
    if job.urgency == 0, !job.hasResources { setUrgency(job, 16) }
  }
}
