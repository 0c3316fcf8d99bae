// SPDX-License-Identifier: LGPL-3.0-only

/// What the plugin has done to a job in the job manager, as far as it knows: an earlier plugin may have done more.
struct Standing: OptionSet {
  let rawValue: UInt8

  /// Its prolog is open: job-exec does not start it, and it does not leave CLEANUP.
  static let prolog = Standing(rawValue: 1)
  /// Its epilog is open: it does not leave CLEANUP.
  static let epilog = Standing(rawValue: 2)
  /// It has got its resources, and its event `start` is to follow.
  static let granted = Standing(rawValue: 4)
  /// `finish` was posted.
  static let finished = Standing(rawValue: 8)
  /// A fatal exception has ended it, or it was in CLEANUP already when the plugin was loaded.
  static let ended = Standing(rawValue: 16)
  /// It was let go.
  static let released = Standing(rawValue: 32)

  /// Whether nothing but the plugin's word lets it leave CLEANUP.
  var isKept: Bool { contains(.epilog) || isSuperset(of: [.prolog, .ended]) }
}
