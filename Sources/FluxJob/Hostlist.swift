// SPDX-License-Identifier: LGPL-3.0-only

/// A list of host names with a compact text form (Flux RFC 29), such as `node[0-3,5]`. Order and duplicates are kept.
public struct Hostlist: Hashable, Sendable {
  /// The most hosts that a text may stand for.
  public static let maximumCount = 1 << 20

  /// The host names, in order; none is empty.
  public private(set) var hosts: [String]

  /// The empty list.
  public init() { hosts = [] }

  /// The list of the given names, taken literally; empty names are skipped.
  public init(_ hosts: some Sequence<String>) {
    self.hosts = hosts.filter { !$0.isEmpty }
  }

  /// Parses a list of names and ranges such as `a,foo[0-3,05]`, with the rules of flux-core.
  ///
  /// Elements are separated by comma, space or tab; only the first pair of brackets of an element is expanded; the width
  /// of a range is that of its low bound. Limits: 1048576 hosts, 10240 ranges in a pair of brackets, 1023 bytes a name.
  /// - Throws: ``FormatError`` with code `hostlist` and the byte offset.
  public init(parsing text: String) throws(FormatError) {
    var parser = HostlistParser(text)
    hosts = try parser.parse()
  }

  /// The number of hosts.
  public var count: Int { hosts.count }

  /// Whether there are no hosts.
  public var isEmpty: Bool { hosts.isEmpty }

  /// The host at a position, which must be in `0..<count`.
  public subscript(position: Int) -> String { hosts[position] }

  /// Adds a host to the end, taken literally; an empty name is skipped.
  public mutating func append(_ host: String) {
    if !host.isEmpty { hosts.append(host) }
  }

  /// Adds the hosts of another list to the end.
  public mutating func append(contentsOf other: Hostlist) { hosts.append(contentsOf: other.hosts) }

  /// The hosts ordered by prefix, then by width and value of the number at the end; duplicates are kept.
  public func sorted() -> Hostlist {
    Hostlist(hosts.map { HostName($0) }.sorted().map(\.text))
  }

  /// The hosts sorted, each once.
  public func uniqued() -> Hostlist {
    var result = Hostlist()
    for host in sorted() where host != result.hosts.last { result.append(host) }
    return result
  }
}

extension Hostlist: Sequence, ExpressibleByArrayLiteral {
  /// An iterator over the host names in order.
  public func makeIterator() -> IndexingIterator<[String]> { hosts.makeIterator() }

  /// The list of the given names, taken literally.
  public init(arrayLiteral elements: String...) { self.init(elements) }
}

extension Hostlist: CustomStringConvertible {
  /// Names with the same prefix and consecutive numbers, as one element of a pair of brackets.
  private struct Run {
    var name: HostName
    var high: UInt64

    /// Extends the run by a name if that continues it.
    mutating func extend(by next: HostName) -> Bool {
      guard let low = name.number, let number = next.number, number > 0, number - 1 == high,
        name.prefix == next.prefix,
        let width = HostName.commonWidth(low, name.width, number, next.width)
      else { return false }
      name.width = width
      high = number
      return true
    }

    var range: String {
      guard let low = name.number else { return "" }
      let first = HostName.padded(low, width: name.width)
      return low == high ? first : first + "-" + HostName.padded(high, width: name.width)
    }
  }

  /// The compact text, such as `node[0-3,5],login1`.
  public var description: String {
    var runs: [Run] = []
    for host in hosts {
      let name = HostName(host)
      if runs.isEmpty || !runs[runs.count - 1].extend(by: name) {
        runs.append(Run(name: name, high: name.number ?? 0))
      }
    }
    var elements: [String] = []
    var rest = runs[...]
    while let first = rest.first {
      // More ranges than a pair of brackets may have would not be read again.
      let group = rest.prefix(HostlistParser.maximumRanges).prefix {
        $0.name.number != nil && first.name.number != nil && $0.name.prefix == first.name.prefix
      }
      guard !group.isEmpty else {
        elements.append(first.name.text)
        rest.removeFirst()
        continue
      }
      let ranges = group.map(\.range).joined(separator: ",")
      let single = group.count == 1 && first.name.number == first.high
      elements.append(first.name.prefix + (single ? ranges : "[\(ranges)]"))
      rest = rest[group.endIndex...]
    }
    return elements.joined(separator: ",")
  }
}
