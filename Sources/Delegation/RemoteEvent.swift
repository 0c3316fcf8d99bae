// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// What happens to the remote job of a mirrored one. The same may be told again: noting it twice changes nothing.
public enum RemoteEvent: Hashable, Sendable {
  /// Its urgency is this: as submitted, or changed since.
  case urgency(Int)
  /// It has started, on these resources.
  case started(at: Double, RemoteResources)
  /// It says something of itself (`flux job memo`), such as the URI of the instance that it is.
  case memo(JSONObject)
  /// It says more of itself than is taken.
  case longMemo
  /// A fatal exception has ended it, or is about to.
  case exception(type: String, note: String)
  /// Its processes have ended.
  case finished(at: Double, WaitStatus)
  /// It is over: nothing more comes.
  case over

  /// The most of a memo that is taken, in bytes.
  public static let maximumMemoLength = 64 << 10

  /// What a remote job says of itself, if it is not too long.
  public init(memo: JSONObject) {
    self = JSON.object(memo).text.utf8.count > Self.maximumMemoLength ? .longMemo : .memo(memo)
  }
}
