// SPDX-License-Identifier: LGPL-3.0-only

/// A script's expectation that the client did not meet.
enum TwinError: Error {
  /// The client ended the connection where the script expected a message.
  case ended
}
