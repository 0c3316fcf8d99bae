// SPDX-License-Identifier: LGPL-3.0-only

/// A verb's own failure: what to tell the user, and the exit code.
struct CommandFailure: Error, Sendable, CustomStringConvertible {
  /// What happened and what to do about it; empty when everything has been said already.
  var message: String
  /// The exit code.
  var exitCode: Int32

  init(_ message: String, exitCode: Int32 = 1) {
    self.message = message
    self.exitCode = exitCode
  }

  var description: String { message }
}
