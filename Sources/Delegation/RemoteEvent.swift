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

  /// What a remote job says of itself, if it is not too long. What its instance tells of the job's delegation from there on is no word of the
  /// job's, and would be taken for ours: that is left out, and nil is what has nothing else.
  public init?(memo: JSONObject) {
    var memo = memo
    memo["delegate"] = nil
    guard !memo.isEmpty else { return nil }
    self = JSON.object(memo).text.utf8.count > Self.maximumMemoLength ? .longMemo : .memo(memo)
  }
}
