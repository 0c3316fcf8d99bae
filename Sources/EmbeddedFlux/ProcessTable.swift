// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What Flux's shell answers to `proctable`: host, executable, rank and process id of every task, and the broker rank of its node, each list in
/// Flux's compressed form. Pure.
struct ProcessTable {
  private var hosts = NameList()
  private var executables = NameList()
  private var ids = NumberList()
  private var pids = NumberList()
  private var ranks = NumberList()

  mutating func append(host: String, executable: String, id: Int, pid: Int, rank: Int) {
    hosts.append(host)
    executables.append(executable)
    ids.append(id)
    pids.append(pid)
    ranks.append(rank)
  }

  var json: JSON {
    [
      "hosts": hosts.json, "executables": executables.json, "ids": ids.json, "pids": pids.json, "ranks": ranks.json,
    ]
  }
}

/// Numbers as runs: N is one number, `[N, n]` are N and the n that follow it, `[N, -n]` is N and n times N again, `[N, n, k]` is that and k times
/// the same again. Each N is the difference to the last number before.
private struct NumberList {
  private struct Run {
    var first: Int
    var count = 1
    var isRepeat = false

    var last: Int { isRepeat ? first : first + count - 1 }
  }

  private var runs: [Run] = []

  var only: Int? { runs.count == 1 && runs[0].count == 1 ? runs[0].first : nil }

  mutating func append(_ number: Int) {
    if let last = runs.last {
      let end = runs.count - 1
      if !last.isRepeat, number == last.last + 1 { return runs[end].count += 1 }
      if number == last.first, last.isRepeat || last.count == 1 {
        runs[end].isRepeat = true
        return runs[end].count += 1
      }
    }
    runs.append(Run(first: number))
  }

  var json: JSON {
    var items: [JSON] = []
    var repeated: Int64 = 0
    var before: JSON?
    var base = 0
    for run in runs {
      let step = JSON.int(Int64(run.first - base))
      base = run.last
      guard run.count > 1 else {
        items.append(step)
        before = nil
        continue
      }
      let item: JSON = [step, .int(Int64(run.isRepeat ? 1 - run.count : run.count - 1))]
      guard item == before else {
        items.append(item)
        before = item
        repeated = 0
        continue
      }
      repeated += 1
      items[items.count - 1] = [step, item[1] ?? 0, .int(repeated)]
    }
    return .array(items)
  }
}

/// Names as prefixes, each with the numbers at the end of its names; -1 is none.
private struct NameList {
  private var groups: [(prefix: Substring, numbers: NumberList)] = []

  mutating func append(_ name: String) {
    let (prefix, number) = Self.split(name)
    if let last = groups.last, last.prefix == prefix {
      groups[groups.count - 1].numbers.append(number)
    } else {
      var numbers = NumberList()
      numbers.append(number)
      groups.append((prefix, numbers))
    }
  }

  /// Leading zeros stay with the prefix, and so does a number that C's `int` does not hold.
  private static func split(_ name: String) -> (prefix: Substring, number: Int) {
    let start = name.lastIndex { !("0"..."9").contains($0) }.map { name.index(after: $0) } ?? name.startIndex
    let digits = name[start...]
    let zeros = digits.prefix { $0 == "0" }
    let kept = zeros.count == digits.count ? zeros.dropLast() : zeros
    guard let number = Int32(digits.dropFirst(kept.count)) else { return (name[...], -1) }
    return (name[..<kept.endIndex], Int(number))
  }

  var json: JSON {
    .array(
      groups.map { group in
        guard let number = group.numbers.only else { return [.string(String(group.prefix)), group.numbers.json] }
        return .string(number < 0 ? String(group.prefix) : "\(group.prefix)\(number)")
      })
  }
}
