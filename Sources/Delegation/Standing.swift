// SPDX-License-Identifier: LGPL-3.0-only

/// What the plugin has done to a job in the job manager, as far as it knows: an earlier plugin may have done more.
public struct Standing: OptionSet, Hashable, Sendable {
  /// The bits.
  public let rawValue: UInt8
  /// A standing from its bits.
  public init(rawValue: UInt8) { self.rawValue = rawValue }

  /// Its prolog is open: job-exec does not start it, and it does not leave CLEANUP.
  public static let prolog = Standing(rawValue: 1)
  /// Its epilog is open: it does not leave CLEANUP.
  public static let epilog = Standing(rawValue: 2)
  /// It has got its resources, and its event `start` is to follow.
  public static let granted = Standing(rawValue: 4)
  /// `finish` was posted.
  public static let finished = Standing(rawValue: 8)
  /// A fatal exception has ended it, or it was in CLEANUP already when the plugin was loaded.
  public static let ended = Standing(rawValue: 16)
  /// It was let go.
  public static let released = Standing(rawValue: 32)

  /// Whether nothing but the plugin's word lets it leave CLEANUP.
  public var isKept: Bool { contains(.epilog) || isSuperset(of: [.prolog, .ended]) }
}
