// SPDX-License-Identifier: LGPL-3.0-only

/// A job as its owner wants it: what it does, where it may run, and what he does with it. All of it is decided by the seed.
struct JobPlan: Hashable, Sendable {
  /// How often a job may run, by its owner's choice.
  enum Runs: Hashable, Sendable {
    case once
    // Here is the place of at-least-once, when a job can ask for it: the checker has no more than one place that asks.
  }

  /// A target by its label, with the URI that the origin reaches it by.
  struct Place: Hashable, Sendable {
    var label: String
    var uri: String
  }

  var number: Int
  /// Where it may run, by label.
  var targets: [String]
  /// The origin job ends when the target has it.
  var isHandOff = false
  /// The value of `--dependency`, after `delegate:`.
  var dependency: String?
  /// The value of `-S system.delegate`, as JSON.
  var attribute: String?
  /// How many lines it prints, one after the other.
  var lines: Int
  /// How long each takes, in seconds.
  var pause: Double
  var exitCode: Int
  /// When its owner cancels it, in seconds after its submission.
  var cancelAfter: Double?
  var runs = Runs.once

  init(_ number: Int, _ dice: inout Dice, places: [Place]) {
    self.number = number
    let place = dice.pick(places)
    let labels = places.map(\.label)
    targets = [place.label]
    switch dice.below(10) {
    case 0, 1, 2: attribute = "\"\(place.label)\""
    case 3: attribute = "\"\(place.uri)\""
    case 4:
      targets = labels
      attribute = "\"random\""
    case 5:
      targets = labels
      let list = labels.map { "\"\($0)\"" }.joined(separator: ",")
      attribute = "{\"policy\":\"least_pending\",\"targets\":[\(list)]}"
    case 6: dependency = "\(place.label)?mode=mirror"
    case 7, 8:
      dependency = place.uri
      isHandOff = true
    default:
      dependency = place.label
      isHandOff = true
    }
    lines = dice.pick([0, 1, 1, 3, 10, 40])
    let time = dice.pick([0, 0, 0.05, 0.3, 0.8, 1.5]) * dice.between(0.5, 1)
    pause = lines > 1 ? time / Double(lines) : time
    exitCode = dice.chance(0.3) ? 1 + dice.below(100) : 0
    if dice.chance(0.12) { cancelAfter = dice.between(0, 1.8) }
  }

  var name: String { "j\(number)" }

  /// The mark comes first: whoever has run at all has left one. A line is one write, and the file is opened for appending.
  func script(marks: String) -> String {
    let pause = pause > 0 ? "sleep \(Int(pause * 1000).thousandths); " : ""
    let line = "echo \(name) line $i; "
    return "echo \(name) >> \(marks); i=0; "
      + (lines > 0 ? "while [ $i -lt \(lines) ]; do i=$((i+1)); \(line)\(pause)done; " : pause)
      + "exit \(exitCode)"
  }

  /// All that it prints.
  var output: String { lines == 0 ? "" : (1...lines).map { "\(name) line \($0)\n" }.joined() }
}

extension Int {
  /// As seconds with three decimals.
  fileprivate var thousandths: String {
    let text = String(self % 1000)
    return "\(self / 1000)." + String(repeating: "0", count: 3 - text.count) + text
  }
}
