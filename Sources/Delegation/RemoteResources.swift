// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// The resources of a remote job as they are passed on: R, as text. A few bytes can name very many ranks, and as text they stay a few bytes.
public struct RemoteResources: Hashable, Sendable {
  /// The most ranks of a job: more than any instance has.
  public static let maximumRankCount = 1 << 16
  /// The most of a job's R that is kept, in bytes.
  public static let maximumLength = 256 << 10

  /// R as JSON text.
  public let text: String
  /// How many nodes it has.
  public let nodeCount: Int
  /// Whether it is what the target says. Else that could not be used: then it is one node without a name, so that the job goes on.
  public let isKnown: Bool

  /// R as JSON.
  public var json: JSON { (try? JSON(parsing: text)) ?? [:] }

  /// The resources of a set.
  public init(_ set: ResourceSet) { self.init(set, isKnown: true) }

  private init(_ set: ResourceSet, isKnown: Bool) {
    text = set.json.text
    nodeCount = set.nodeCount
    self.isKnown = isKnown
  }

  /// What a target says of a job's resources. What its scheduler keeps for itself is left out when there is much of it.
  public init(told json: JSON?) {
    if let json, var set = try? ResourceSet(json, maximumRankCount: Self.maximumRankCount) {
      self.init(set)
      if text.utf8.count > Self.maximumLength {
        set.scheduling = nil
        self.init(set)
      }
      if text.utf8.count <= Self.maximumLength { return }
    }
    self.init(ResourceSet(ranks: [ResourceSet.Rank(rank: 0, host: "", cores: [0])]), isKnown: false)
  }
}
