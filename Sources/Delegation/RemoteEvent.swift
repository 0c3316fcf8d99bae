// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What happens to the remote job of a mirrored one.
public enum RemoteEvent: Hashable, Sendable {
  /// It has started, on these resources.
  case started(at: Double, ResourceSet)
  /// A fatal exception has ended it, or is about to.
  case exception(type: String, note: String)
  /// Its processes have ended. All its output has been passed on.
  case finished(WaitStatus)
  /// It is over: nothing more comes.
  case over
}
