// SPDX-License-Identifier: LGPL-3.0-only

/// The members of a JSON object, in the order of insertion.
///
/// Lookup takes constant time on average. Two objects are equal if they have the same members, in any order.
public struct JSONObject: Sendable {
  struct Member: Sendable {
    var key: String
    var value: JSON
  }

  /// Up to this many members a linear search is faster than hashing.
  private static let indexThreshold = 16

  private var members: [Member] = []
  /// Position of each key; nil while there are few members.
  private var index: [String: Int]?

  /// An object without members.
  public init() {}

  /// The keys, in the order of insertion.
  public var keys: [String] { members.map(\.key) }

  /// The number of members.
  public var count: Int { members.count }

  /// Whether there are no members.
  public var isEmpty: Bool { members.isEmpty }

  /// The value of a key, nil if absent. A new key goes to the end; setting nil removes the key (linear time).
  public subscript(key: String) -> JSON? {
    get {
      guard let position = position(of: key) else { return nil }
      return members[position].value
    }
    set {
      switch (position(of: key), newValue) {
      case (let position?, let value?): members[position].value = value
      case (nil, let value?): append(key, value)
      case (let position?, nil): remove(at: position)
      case (nil, nil): break
      }
    }
  }

  private func position(of key: String) -> Int? {
    if let index { return index[key] }
    for position in members.indices where members[position].key == key { return position }
    return nil
  }

  private mutating func append(_ key: String, _ value: JSON) {
    members.append(Member(key: key, value: value))
    if index != nil {
      index?[key] = members.count - 1
    } else if members.count > Self.indexThreshold {
      buildIndex()
    }
  }

  private mutating func remove(at position: Int) {
    members.remove(at: position)
    if index != nil { buildIndex() }
  }

  /// Removes the members whose keys are chosen, in one go.
  public mutating func removeAll(where isChosen: (String) -> Bool) {
    let before = members.count
    members.removeAll { isChosen($0.key) }
    if members.count < before, index != nil { buildIndex() }
  }

  private mutating func buildIndex() {
    guard members.count > Self.indexThreshold else {
      index = nil
      return
    }
    var positions: [String: Int] = [:]
    positions.reserveCapacity(members.count)
    for position in members.indices { positions[members[position].key] = position }
    index = positions
  }
}

extension JSONObject: Sequence {
  /// Walks the members in the order of insertion.
  public struct Iterator: IteratorProtocol {
    var members: IndexingIterator<[Member]>

    /// The next member, nil at the end.
    public mutating func next() -> (key: String, value: JSON)? {
      guard let member = members.next() else { return nil }
      return (member.key, member.value)
    }
  }

  /// An iterator over the members in the order of insertion.
  public func makeIterator() -> Iterator { Iterator(members: members.makeIterator()) }

  /// The number of members.
  public var underestimatedCount: Int { members.count }
}

extension JSONObject: Hashable {
  /// Whether both have the same members, in any order.
  public static func == (left: JSONObject, right: JSONObject) -> Bool {
    guard left.count == right.count else { return false }
    for (position, member) in left.members.enumerated() {
      let other = right.members[position]  // mostly the order is the same
      if other.key == member.key {
        guard other.value == member.value else { return false }
      } else {
        guard right[member.key] == member.value else { return false }
      }
    }
    return true
  }

  /// Feeds a value that does not depend on the order of the members.
  public func hash(into hasher: inout Hasher) {
    var combined = 0
    for member in members {
      var inner = Hasher()
      inner.combine(member.key)
      inner.combine(member.value)
      combined ^= inner.finalize()
    }
    hasher.combine(combined)
    hasher.combine(count)
  }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  /// The members in the order written; if a key occurs twice the last value wins.
  public init(dictionaryLiteral elements: (String, JSON)...) {
    for (key, value) in elements { self[key] = value }
  }
}
