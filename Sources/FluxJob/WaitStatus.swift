// SPDX-License-Identifier: LGPL-3.0-only

/// The wait status of a process, with the bits of wait(2) on Linux: the `status` of a `finish` event.
public struct WaitStatus: RawRepresentable, Hashable, Sendable {
  /// The bits: the exit code shifted left by 8, or the number of the signal.
  public var rawValue: Int32

  /// The status with the given bits.
  public init(rawValue: Int32) { self.rawValue = rawValue }

  /// The status of a process that exited; the low 8 bits of the code count.
  public init(exit code: Int) { rawValue = Int32(truncatingIfNeeded: code & 0xFF) << 8 }

  /// The status of a process that a signal (1 to 126) ended.
  public init(signal: Int) { rawValue = Int32(truncatingIfNeeded: signal & 0x7F) }

  /// The exit code, 0 to 255; nil if the process did not exit by itself.
  public var exitCode: Int? {
    rawValue & 0x7F == 0 ? Int(rawValue >> 8 & 0xFF) : nil
  }

  /// The number of the signal that ended the process, nil if none did.
  public var signal: Int? {
    let signal = Int(rawValue & 0x7F)
    return (1...126).contains(signal) ? signal : nil
  }

  /// The exit code of `flux job attach`: that of the job, or 128 plus the signal; 1 for a status that is neither.
  public var returnCode: Int {
    if let exitCode { return exitCode }
    if let signal { return 128 + signal }
    return 1
  }
}
