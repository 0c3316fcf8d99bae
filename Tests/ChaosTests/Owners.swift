// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc

/// Those who submit jobs, cancel some of them, and look how they fare.
struct Owners {
  let stage: Stage
  /// The most jobs that are under way at once.
  static let maximumInFlight = 50
  /// The mean pause between two submissions, in seconds.
  private static let pause = 0.12
  /// How long a job of a target that has forgotten it is waited for, in seconds.
  private static let hope = 15.0

  /// Submits until then; returns when all who wanted to cancel have done so.
  func run(_ dice: Dice, until end: ContinuousClock.Instant) async {
    var dice = dice
    await withDiscardingTaskGroup { group in
      var number = 0
      while ContinuousClock.now < end, !Task.isCancelled {
        try? await Task.sleep(for: .seconds(dice.between(0, 2 * Self.pause)))
        guard await stage.ledger.inFlight < Self.maximumInFlight else { continue }
        number += 1
        let plan = JobPlan(number, &dice, places: stage.places)
        let id = await stage.gate.pass { await submit(plan) }
        guard let id, let time = plan.cancelAfter else { continue }
        group.addTask {
          try? await Task.sleep(for: .seconds(time))
          await cancel(id)
        }
      }
    }
  }

  private func submit(_ plan: JobPlan) async -> JobID? {
    do {
      let request = try request(plan)
      guard let id = JobID(try await stage.origin.asker.ask("job-ingest.submit", request)["id"]) else {
        await stage.ledger.refused(plan, "an answer without an id")
        return nil
      }
      await stage.ledger.add(plan, id)
      return id
    } catch let error as RPCError where error.errnum == UInt32(ENOSPC) {
      // Its disk is full, and it says so.
      await stage.ledger.add(plan, nil)
      return nil
    } catch let error as RPCError {
      await stage.ledger.refused(plan, "\(error)")
      return nil
    } catch {
      await stage.ledger.add(plan, nil)
      return nil
    }
  }

  private func request(_ plan: JobPlan) throws -> JSON {
    var wish = Jobspec.Request(
      command: ["sh", "-c", plan.script(marks: stage.marks)], environment: [("PATH", "/usr/bin:/bin")],
      cwd: "/tmp", name: plan.name)
    if let value = plan.dependency { wish.dependencies = [try Dependency(parsing: "delegate:\(value)")] }
    var json = try Jobspec(wish).json
    if let value = plan.attribute { json.set(path: "attributes.system.delegate", to: try JSON(parsing: value)) }
    return [
      "J": .string(SignedJobspec(userID: getuid(), jobspec: json.text).text), "urgency": 16, "flags": 0,
    ]
  }

  func cancel(_ id: JobID) async {
    let request: JSON = ["id": id.json, "type": "cancel", "severity": 0, "note": "its owner wants it so"]
    _ = try? await stage.origin.asker.ask("job-manager.raise", request)
  }

  /// Looks at the jobs until cancelled.
  func watch() async {
    while !Task.isCancelled {
      await look(hope: Self.hope)
      try? await Task.sleep(for: .milliseconds(200))
    }
  }

  /// Looks which jobs are active, and cancels those for which there is no hope.
  func look(hope: Double) async {
    let active = try? await stage.origin.asker.withConnection { connection in
      Set(try await Asker.jobs(connection, areActive: true).map(\.id))
    }
    guard let active else { return }
    await stage.ledger.note(active: active)
    for id in await stage.ledger.hopeless(stage.chronicle.kills, after: hope) { await cancel(id) }
  }
}
