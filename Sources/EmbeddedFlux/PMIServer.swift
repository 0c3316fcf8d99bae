// SPDX-License-Identifier: LGPL-3.0-only

/// The server's side of PMI-1's wire protocol (RFC 13), by which the processes of an MPI program find each other. Pure: lines in, actions out.
struct PMIServer {
  /// What has to be done.
  enum Action: Hashable {
    case send(String, rank: Int)
    case close(rank: Int)
    /// The program wants its end.
    case abort(String)
    /// Somebody does not speak the protocol.
    case broken(rank: Int)
  }

  /// The longest names and values in bytes, with the final NUL of Flux's C, and the longest line.
  static let maximumKey = 64
  static let maximumValue = 1024
  static let maximumLine = maximumKey + maximumValue + 64 + 64
  /// The most that a job may keep, in bytes.
  static let maximumTotal = 64 << 20

  private let size: Int
  private let name: String
  private var values: [String: String]
  private var total = 0
  /// What has come of a line.
  private var partial: [Int: [UInt8]] = [:]
  private var inBarrier: Set<Int> = []
  private var spawning: Set<Int> = []

  /// - Parameters:
  ///   - size: how many tasks there are.
  ///   - name: the job's, as the name of its values.
  ///   - values: what every task may ask for from the start.
  init(size: Int, name: String, values: [String: String]) {
    self.size = size
    self.name = name
    self.values = values
  }

  /// Takes what a task has written.
  mutating func receive(_ bytes: [UInt8], from rank: Int) -> [Action] {
    var line = partial.removeValue(forKey: rank) ?? []
    var actions: [Action] = []
    for byte in bytes {
      guard byte == UInt8(ascii: "\n") else {
        line.append(byte)
        if line.count > Self.maximumLine { return actions + [.broken(rank: rank)] }
        continue
      }
      actions += take(String(decoding: line, as: UTF8.self), from: rank)
      if actions.contains(.broken(rank: rank)) || actions.contains(.close(rank: rank)) { return actions }
      line.removeAll(keepingCapacity: true)
    }
    if !line.isEmpty { partial[rank] = line }
    return actions
  }

  private mutating func take(_ line: String, from rank: Int) -> [Action] {
    if spawning.contains(rank) {
      guard line == "endcmd" else { return [] }
      spawning.remove(rank)
      return [.send("cmd=spawn_result rc=-1", rank: rank)]
    }
    if Self.word("mcmd", in: line) == "spawn" {
      spawning.insert(rank)
      return []
    }
    switch Self.word("cmd", in: line) {
    case "finalize": return [.send("cmd=finalize_ack rc=0", rank: rank), .close(rank: rank)]
    case "barrier_in": return enterBarrier(rank)
    case "abort": return [.abort(Self.rest("error_msg", in: line) ?? "aborted")]
    case let command?:
      guard let answer = answer(command, line) else { return [.broken(rank: rank)] }
      return [.send(answer, rank: rank)]
    case nil: return [.broken(rank: rank)]
    }
  }

  private mutating func answer(_ command: String, _ line: String) -> String? {
    switch command {
    case "init":
      guard let version = Self.word("pmi_version", in: line).flatMap(UInt.init),
        let minor = Self.word("pmi_subversion", in: line).flatMap(UInt.init)
      else { return nil }
      return version == 1 && minor >= 1
        ? "cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1" : "cmd=response_to_init rc=-1"
    case "get_maxes":
      return "cmd=maxes rc=0 kvsname_max=64 keylen_max=\(Self.maximumKey) vallen_max=\(Self.maximumValue)"
    case "get_universe_size": return "cmd=universe_size rc=0 size=\(size)"
    case "get_appnum": return "cmd=appnum rc=0 appnum=0"
    case "get_my_kvsname": return "cmd=my_kvsname rc=0 kvsname=\(name)"
    case "put": return put(line).map { "cmd=put_result rc=\($0)" }
    case "get":
      guard let key = Self.word("key", in: line) else { return nil }
      return values[key].map { "cmd=get_result rc=0 value=\($0)" } ?? "cmd=get_result rc=\(Self.invalidKey)"
    case "publish_name": return "cmd=publish_result rc=-1 msg=command not implemented"
    case "unpublish_name": return "cmd=unpublish_result rc=-1 msg=command not implemented"
    case "lookup_name": return "cmd=lookup_result rc=-1 msg=command not implemented"
    default: return nil
    }
  }

  /// PMI's error numbers.
  private static let noMemory = 2
  private static let invalidKey = 4
  private static let invalidKeyLength = 5
  private static let invalidValueLength = 7

  private mutating func put(_ line: String) -> Int? {
    guard let key = Self.word("key", in: line), let value = Self.rest("value", in: line) else { return nil }
    guard key.utf8.count < Self.maximumKey else { return Self.invalidKeyLength }
    guard value.utf8.count < Self.maximumValue else { return Self.invalidValueLength }
    let size = key.utf8.count + value.utf8.count
    let old = values[key].map { key.utf8.count + $0.utf8.count } ?? 0
    guard total + size - old <= Self.maximumTotal else { return Self.noMemory }
    total += size - old
    values[key] = value
    return 0
  }

  private mutating func enterBarrier(_ rank: Int) -> [Action] {
    inBarrier.insert(rank)
    guard inBarrier.count == size else { return [] }
    defer { inBarrier.removeAll() }
    return inBarrier.sorted().map { .send("cmd=barrier_out rc=0", rank: $0) }
  }

  // MARK: Lines: `key=word key=word value=the rest`

  /// The value of a key, up to the next blank.
  private static func word(_ key: String, in line: String) -> String? {
    rest(key, in: line).map { String($0.prefix { $0 != " " }) }
  }

  /// The value of a key, with all that follows.
  private static func rest(_ key: String, in line: String) -> String? {
    let start = "\(key)="
    var left = line[...]
    while !left.isEmpty {
      if left.hasPrefix(start) { return String(left.dropFirst(start.count)) }
      // What is in a value is no key.
      if left.hasPrefix("value=") { return nil }
      guard let blank = left.firstIndex(of: " ") else { return nil }
      left = left[left.index(after: blank)...]
    }
    return nil
  }
}
