// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The shell option `pty`: which tasks have a terminal. Rules and words are those of Flux's shell. Pure.
struct TerminalOption: Hashable, Sendable {
  /// The tasks that have one; nil is all.
  private(set) var ranks: IDSet?
  /// Whether what is written on the terminals goes where standard output goes.
  private(set) var isCaptured: Bool
  /// Whether a client is meant to attach to the first task's terminal, and is waited for.
  let isInteractive: Bool
  /// What the shell says of it, and goes on.
  private(set) var warnings: [ShellOptions.Warning] = []

  /// Anything but an object is a terminal for every task: so it is in Flux, even where it says `false`.
  init?(_ option: JSON?) throws(ShellOptions.Failure) {
    guard let option else { return nil }
    guard let members = option.objectValue else {
      isCaptured = true
      isInteractive = false
      return
    }
    let capture = try Self.number(members["capture"])
    isInteractive = try Self.number(members["interactive"]) ?? 0 != 0
    isCaptured = capture.map { $0 != 0 } ?? !isInteractive
    let unknown = members.keys.filter { !["ranks", "capture", "interactive"].contains($0) }
    guard unknown.isEmpty else {
      throw Self.invalid("\(unknown.count) object item(s) left unpacked: \(unknown.joined(separator: ", "))")
    }
    ranks = try Self.ranks(members["ranks"], isInteractive)
    guard isInteractive, ranks?.contains(0) == false else { return }
    ranks?.insert(0)
    let words = "pty: adding pty to rank 0 for interactive support"
    warnings.append(ShellOptions.Warning(component: "pty", text: words))
  }

  private static func ranks(_ value: JSON?, _ isInteractive: Bool) throws(ShellOptions.Failure) -> IDSet? {
    switch value {
    case nil: return isInteractive ? [0] : nil
    case .int(let rank)?: return IDSet([Int(clamping: rank)])
    case .string("all")?: return nil
    case .string(let text)?:
      guard let ranks = try? IDSet(parsing: text) else {
        throw ShellOptions.Failure(component: "pty", text: "pty: shell_taskids_intersect")
      }
      return ranks
    default: return nil
    }
  }

  private static func number(_ value: JSON?) throws(ShellOptions.Failure) -> Int64? {
    guard let value else { return nil }
    guard case .int(let number) = value else { throw invalid("Expected integer, got \(value.kind)") }
    return number
  }

  private static func invalid(_ words: String) -> ShellOptions.Failure {
    ShellOptions.Failure(component: "pty", text: "invalid shell pty option: \(words)", isFatal: true)
  }

  /// Whether a task has a terminal.
  func includes(_ rank: Int) -> Bool { ranks?.contains(rank) ?? true }

  /// Whether a task's terminal waits for somebody to attach to it.
  func awaitsClient(_ rank: Int) -> Bool { isInteractive && rank == 0 }

  /// Whether what a task writes goes where standard output goes. Only to the first one can anybody attach.
  func captures(_ rank: Int) -> Bool { isCaptured || rank != 0 }

  /// What `shell.init` tells those who may attach.
  var note: JSONObject {
    guard isInteractive else { return [:] }
    return isCaptured ? ["pty": "terminus.0", "capture": 1] : ["pty": "terminus.0"]
  }
}
