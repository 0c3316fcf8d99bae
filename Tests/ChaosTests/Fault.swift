// SPDX-License-Identifier: LGPL-3.0-only

/// One thing that goes wrong. All of it is decided by the seed, whatever the world looks like when it happens.
struct Fault: Hashable, Sendable {
  enum Kind: String, CaseIterable, Sendable {
    case killAgent = "kill agent"
    case killSSH = "kill ssh"
    case killRelay = "kill relay"
    case killOrigin = "kill origin"
    case killTarget = "kill target"
    case stopAgent = "stop agent"
    case stopSSH = "stop ssh"
    case stopRelay = "stop relay"
    case stopOrigin = "stop origin"
    case stopTarget = "stop target"
    case cut = "cut"
    case cutInMessage = "cut in a message"
    case stallRequests = "stall requests"
    case stallAnswers = "stall answers"
    case halfOpen = "half-open"
    case refuse = "refuse"
    case reloadPlugin = "reload plugin"
    case fillDisk = "fill disk"

    var isKill: Bool { rawValue.hasPrefix("kill") }
    var isStop: Bool { rawValue.hasPrefix("stop") }
  }

  /// Which faults can be, beside those that always can.
  struct Abilities: Sendable {
    /// Whether an instance that was killed comes back with its jobs.
    var instancesAreDurable = false
    /// Whether a target is reached through ssh.
    var hasSSH = false
    /// Whether instances keep their state on disks of their own.
    var haveDisks = false
  }

  var kind: Kind
  /// How long nothing happens before, in seconds.
  var pause: Double
  /// Which one of several.
  var victim: UInt64
  /// How long it lasts, in seconds: a stop, a stall, the death of an instance.
  var duration: Double
  /// Which part of a message gets through.
  var part: Double

  init(_ dice: inout Dice, _ abilities: Abilities) {
    // Without a state on disk a target forgets its jobs with its life: seldom, for little can be said about them then.
    let durable = abilities.instancesAreDurable
    let ssh = abilities.hasSSH ? 1.0 : 0
    let weights: [(Kind, weight: Double)] = [
      (.killAgent, 24), (.killSSH, 18 * ssh), (.killRelay, 18 * ssh), (.killOrigin, durable ? 8 : 0),
      (.killTarget, durable ? 12 : 0.5), (.stopAgent, 4), (.stopSSH, 3 * ssh), (.stopRelay, 3 * ssh), (.stopOrigin, 3),
      (.stopTarget, 4), (.cut, 6), (.cutInMessage, 6), (.stallRequests, 4), (.stallAnswers, 4), (.halfOpen, 4),
      (.refuse, 3), (.reloadPlugin, 4), (.fillDisk, abilities.haveDisks ? 3 : 0),
    ]
    kind = dice.pick(weighted: weights)
    // Bursts, and time to recover: most of what goes wrong should meet an agent that is at work.
    pause = dice.chance(0.25) ? dice.between(0, 0.1) : dice.between(0.1, 1)
    victim = dice.next()
    duration = dice.chance(0.9) ? dice.between(0.05, 2) : dice.between(2, 6)
    part = dice.between(0, 1)
  }
}
