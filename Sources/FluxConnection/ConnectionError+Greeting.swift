// SPDX-License-Identifier: LGPL-3.0-only

import FluxWire

extension ConnectionError {
  /// What it means that `byte` came where an instance says 0.
  ///
  /// It is the errno of a refusal, or the first byte of something else: letters, but also the line break and the
  /// escape with which text begins (10 and 27 are errnos that nobody refuses with), and what is more than any errno.
  static func greeting(_ byte: UInt8, peer: String) -> ConnectionError {
    let isText = (0x20...0x7e).contains(byte) || byte == 0x0a || byte == 0x1b
    guard isText || byte > 133 else {
      return ConnectionError(.refused, "\(peer): the instance refuses this user: \(Errnum(UInt32(byte)))")
    }
    let character = (0x20...0x7e).contains(byte) ? " (\"\(Character(UnicodeScalar(byte)))\")" : ""
    return ConnectionError(
      .notFlux,
      "\(peer): what answers is not a Flux instance: its first byte is \(byte)\(character); "
        + "over ssh, this is often text that the shell's start-up files print")
  }
}
