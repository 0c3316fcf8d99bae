// SPDX-License-Identifier: LGPL-3.0-only

/// What goes wrong in a simulated world, as numbers. Of what is counted, each world has any number up to the one given here.
struct Faults {
  /// The agent is killed.
  var agentCrashes = 0
  /// The plugin is removed, and loaded again a while later.
  var pluginReloads = 0
  /// The job manager is unloaded and loaded: nothing is lost, but its plugin starts anew.
  var managerReloads = 0
  /// The origin instance dies, and comes back without what was not durable.
  var originCrashes = 0
  /// A target dies, and comes back with its jobs, or without.
  var targetCrashes = 0
  /// The connection to a target ends.
  var connectionLosses = 0
  /// A target cannot be reached for a while.
  var outages = 0
  /// A target's job manager is away for a moment: requests are answered with an error.
  var targetReloads = 0

  /// How many of the target's crashes lose its jobs.
  var amnesia = 0.3
  /// How many lost connections are half-open at first: requests may arrive, answers do not.
  var halfOpen = 0.5
  /// How many messages on the way arrive all the same, later, when their connection or their sender has gone.
  var lateDelivery = 0.5
  /// How much later, in seconds.
  var lateness = 3.0
  /// How many submissions a target refuses.
  var rejections = 0.0
  /// How many events are delivered twice.
  var duplicates = 0.0
  /// How many copiers of output give up although the connection holds.
  var copyErrors = 0.0
  /// How many messages are slow, up to a second.
  var slowMessages = 0.0
  /// How long the origin's events may take to be durable, in seconds.
  var durability = 0.05
  /// How many choices and submissions have to wait, for a target takes no jobs. Where that happens, owners lose their patience as well.
  var deferrals = 0.0
  /// Whether owners cancel, change and signal their jobs.
  var owners = 0.0

  /// Nothing goes wrong.
  static let none = Faults()

  /// A bit of everything.
  static let storm = Faults(
    agentCrashes: 3, pluginReloads: 1, managerReloads: 1, originCrashes: 1, targetCrashes: 1, connectionLosses: 3,
    outages: 1, targetReloads: 1, rejections: 0.05, duplicates: 0.05, copyErrors: 0.05, slowMessages: 0.05, owners: 0.4)

  /// Agents die and connections break, often; instances stay.
  static let crashes = Faults(agentCrashes: 5, connectionLosses: 4, slowMessages: 0.1, owners: 0.5)

  /// Connections break and messages come late or twice.
  static let network = Faults(
    connectionLosses: 6, outages: 2, lateDelivery: 0.7, duplicates: 0.1, copyErrors: 0.1, slowMessages: 0.2, owners: 0.3
  )

  /// Targets refuse and fail, so that others are tried.
  static let targets = Faults(
    agentCrashes: 1, targetCrashes: 2, connectionLosses: 1, outages: 2, targetReloads: 2, amnesia: 0.5, rejections: 0.3,
    owners: 0.2)

  /// The origin's instance has a bad day.
  static let origin = Faults(
    agentCrashes: 1, pluginReloads: 2, managerReloads: 2, originCrashes: 2, slowMessages: 0.05, durability: 1,
    owners: 0.3)

  /// Targets are away for longer than their jobs' owners have patience, or take no jobs.
  static let elsewhere = Faults(
    agentCrashes: 2, originCrashes: 1, targetCrashes: 2, connectionLosses: 3, outages: 3, targetReloads: 1,
    amnesia: 0.1,
    deferrals: 0.1, owners: 0.3)

  /// Those that the regular test takes in turns.
  static let all: [(name: String, faults: Faults)] = [
    ("none", none), ("storm", storm), ("crashes", crashes), ("network", network), ("targets", targets),
    ("origin", origin),
  ]
}
