// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import TestSupport

/// All that takes part in a run.
struct Stage: Sendable {
  /// A target, and how the origin reaches it.
  struct Target: Sendable {
    var keeper: Keeper
    var place: JobPlan.Place
  }

  /// The run's directory, which everything that belongs to it names.
  let directory: String
  let origin: Keeper
  let targets: [Target]
  let forwarder: Forwarder
  let isDurable: Bool
  /// Whether each instance's state has a disk of its own, which can be full.
  let haveDisks: Bool
  let gate = Gate()
  let chronicle = Chronicle()
  let ledger = Ledger()
  let diary = Diary()

  /// The label of the target behind the forwarder, and of the one behind ssh.
  static let wire = "wire"
  static let far = "far"

  var processes: ProcessTable { ProcessTable(directory: directory) }
  var marks: String { "\(directory)/marks" }
  var places: [JobPlan.Place] { targets.map(\.place) }
  var labels: Set<String> { Set(places.map(\.label)) }
  var abilities: Fault.Abilities {
    Fault.Abilities(
      instancesAreDurable: isDurable, hasSSH: labels.contains(Self.far), haveDisks: haveDisks)
  }

  /// Runs a verb on the origin.
  func verb(_ words: String..., input: String = "") async throws -> Output {
    try await run([Build.executable] + words, uri: "local://\(origin.socket)", input: input, within: .seconds(30))
  }

  /// Gives the origin its configuration and the plugin, as long as it takes: it may be stopped meanwhile.
  func prepareOrigin() async throws {
    let list = places.map { "{\"uri\":\"\($0.uri)\",\"label\":\"\($0.label)\"}" }.joined(separator: ",")
    _ = try await eventually(within: .seconds(240)) {
      try await verb("config", "load", input: "{\"delegate\":[\(list)]}")
    } until: {
      $0.code == 0
    }
    try await loadPlugin()
  }

  func loadPlugin() async throws {
    let loaded = try await eventually(within: .seconds(240)) {
      try await verb("jobtap", "load", Build.plugin)
    } until: {
      $0.code == 0 || $0.err.contains("already")
    }
    guard loaded.code == 0 || loaded.err.contains("already") else { throw Failure(message: "no plugin: \(loaded)") }
  }

  struct Failure: Error {
    var message: String
  }

  /// Waits until an agent is attached.
  func waitForAgent() async throws {
    let query = try await eventually(within: .seconds(240)) {
      try await verb("jobtap", "query", "delegate.so")
    } until: {
      $0.out.contains("\"attached\":true")
    }
    guard query.out.contains("\"attached\":true") else { throw Failure(message: "no agent is attached: \(query)") }
  }
}
