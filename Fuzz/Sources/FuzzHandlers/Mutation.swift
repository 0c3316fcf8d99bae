// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

extension InputReader {
  /// The deepest that anything is wrapped: more than the instance's JSON parser takes.
  private static let maximumDepth = 80
  /// The longest text, and the most elements, that a mutation makes.
  private static let maximumLength = 4096

  /// The most bytes that a mutation makes of a value, about.
  private static let mostBytes = 1 << 17

  /// The value with up to three mutations.
  mutating func mutated(_ value: JSON) -> JSON {
    var value = value
    for _ in 0..<(byte() & 3) {
      var position = choice(Self.size(of: value))
      change(&value, at: &position)
    }
    return value
  }

  /// How many values there are in a value, itself included.
  private static func size(of value: JSON) -> Int {
    switch value {
    case .array(let array): array.reduce(1) { $0 + size(of: $1) }
    case .object(let object): object.keys.reduce(1) { $0 + size(of: object[$1] ?? .null) }
    default: 1
    }
  }

  /// Changes the value of that number, from above.
  private mutating func change(_ value: inout JSON, at position: inout Int) {
    if position == 0 {
      value = replacement(of: value)
      position = -1
      return
    }
    position -= 1
    switch value {
    case .array(var array):
      for index in array.indices where position >= 0 { change(&array[index], at: &position) }
      value = .array(array)
    case .object(var object):
      for key in object.keys where position >= 0 {
        var member = object[key] ?? .null
        change(&member, at: &position)
        object[key] = member
      }
      value = .object(object)
    default: break
    }
  }

  private mutating func replacement(of value: JSON) -> JSON {
    let kind = choice(16)
    // Of a number another number is the likeliest mistake.
    if kind < 8, value.doubleValue != nil { return pick(Self.numbers) }
    switch kind {
    case 0...3: return pick(Self.interesting)
    case 4: return anything(depth: 0)
    case 5: return .int(Int64(bitPattern: number()))
    case 6: return .double(finite(Double(bitPattern: number())))
    case 7: return .string(text())
    case 8: return without(value)
    case 9, 10: return with(value)
    case 11: return wrapped(value, Self.maximumDepth) { [$0] }
    case 12: return wrapped(value, Self.maximumDepth) { ["a": $0] }
    case 13: return repeated(value)
    case 14: return value.intValue.map { .int($0 &+ Int64(Int8(bitPattern: byte()))) } ?? .int(Int64(byte()))
    default: return .string((value.stringValue ?? value.text) + text())
    }
  }

  private func finite(_ number: Double) -> Double { number.isFinite ? number : 1e308 }

  /// Without one of its members or elements.
  private mutating func without(_ value: JSON) -> JSON {
    switch value {
    case .array(var array) where !array.isEmpty:
      array.remove(at: choice(array.count))
      return .array(array)
    case .object(var object) where !object.isEmpty:
      object[pick(object.keys)] = nil
      return .object(object)
    case .string(let text): return .string(String(text.dropLast(choice(8))))
    default: return .null
    }
  }

  /// With one more member or element.
  private mutating func with(_ value: JSON) -> JSON {
    switch value {
    case .array(let array): return .array(array + [pick(Self.interesting)])
    case .object(var object):
      object[pick(Template.keys)] = pick(Self.interesting)
      return .object(object)
    default: return .array([value, pick(Self.interesting)])
    }
  }

  private mutating func wrapped(_ value: JSON, _ most: Int, _ wrap: (JSON) -> JSON) -> JSON {
    (0..<choice(most)).reduce(value) { inner, _ in wrap(inner) }
  }

  /// Very often what it is: the same, or such that no two are the same.
  private mutating func repeated(_ value: JSON) -> JSON {
    let count = min(1 << choice(15), max(Self.mostBytes / value.text.utf8.count, 1))
    if byte() & 1 != 0 { return many(value, count) }
    switch value {
    case .array(let array):
      return .array(Array(repeatElement(array, count: count).joined().prefix(Self.maximumLength)))
    case .string(let text): return .string(String(String(repeating: text, count: count).prefix(Self.maximumLength)))
    default: return .array(Array(repeating: value, count: min(count, Self.maximumLength)))
    }
  }

  private func many(_ value: JSON, _ count: Int) -> JSON {
    switch value {
    case .array(let array): .array((0..<count).map { distinct(array.first ?? .null, $0) })
    case .object(let object):
      .object(
        (0..<count).reduce(into: object) { $0["\(object.keys.first ?? "")\($1)"] = object[object.keys.first ?? ""] })
    case .string(let text): .string((0..<count).map { "\(text)\($0)" }.joined(separator: ","))
    default: .array((0..<count).map { distinct(value, $0) })
    }
  }

  /// The value, as no other number makes it.
  private func distinct(_ value: JSON, _ number: Int) -> JSON {
    switch value {
    case .int(let first): .int(first &+ Int64(number))
    case .string(let text): .string("\(text)\(number)")
    case .array(let array): .array(array.map { distinct($0, number) })
    case .object(let object):
      .object(object.keys.reduce(into: JSONObject()) { $0[$1] = distinct(object[$1] ?? .null, number) })
    default: value
    }
  }

  /// Any value at all.
  mutating func anything(depth: Int) -> JSON {
    switch choice(depth < 6 ? 10 : 6) {
    case 0, 1: return pick(Self.interesting)
    case 2: return .int(Int64(Int8(bitPattern: byte())))
    case 3: return .int(Int64(bitPattern: number()))
    case 4: return .string(text())
    case 5: return .double(finite(Double(bitPattern: number())))
    case 6, 7: return .array((0..<choice(5)).map { _ in anything(depth: depth + 1) })
    default: return members(depth: depth)
    }
  }

  /// An object whose members have names that the instance knows.
  mutating func members(depth: Int) -> JSON {
    var object = JSONObject()
    for _ in 0..<choice(5) { object[pick(Template.keys)] = anything(depth: depth + 1) }
    return .object(object)
  }

  /// Values at the edges of what is meant.
  private static let numbers: [JSON] =
    [
      0, 1, -1, 2, 7, 31, 32, 64, 255, 65_535, 65_536, 2_147_483_647, 2_147_483_648, 4_294_967_295,
      4_294_967_296, 9_007_199_254_740_993, .int(.max), .int(.min), .int(.max - 1), 0.5, -0.5, 1e18, 1e19, -1e19, 1e308,
      -1e308, 1e-300, 1_700_000_001.5,
    ]

  private static let interesting: [JSON] =
    numbers + [.null, true, false, [:], [], [[]], ["a", 1, .null], ["": ""]] + texts.map { .string($0) }

  private static let texts: [String] = [
    "", "a", " ", ".", "..", "/", "\0", "\u{301}", "é", "\u{1F600}", "true", "false", "null", "-1", "0", "1", "1.5",
    "1e999",
    "nan", "inf", "-inf", "infinity", "0x10", "9223372036854775808", "99999999999999999999d", "1h", "-1s",
    "0-2147483647",
    "0-2147483648", "2147483647", "[0-3]", "0,2,1", "3-1", "[]", "n0", "n[0-3]", "n[0-100000]", "n[00-99]",
    "x[1-2][3-4]",
    "batch", "debug", "big", "single", "primary", "delegate.a", "resource.R", "job.", ".guest", "job-", "$ns", "$guest",
    "$f58", "$id", "$J", "$jobspec", "$tag", "$pid", "mine", "mine.", "job-manager", "eventlog", "guest.output",
    "guest.exec.eventlog", "guest.input", "jobspec", "R", "J", "all", "node", "slot", "core", "gpu", "task", "submit",
    "validate", "depend", "priority", "alloc", "start", "finish", "release", "free", "clean", "exception", "urgency",
    "memo", "dependency-add", "dependency-remove", "prolog-start", "prolog-finish", "epilog-start", "epilog-finish",
    "set-flags", "flux-restart", "jobspec-update", "resource-update", "annotations", "alloc-bypass", "debug.x",
    "cancel",
    "timeout", "exec", "afterstart", "after", "afterok", "afternotok", "afterexcept", "afterany", "begin-time",
    "singleton", "attributes", "attributes.system.duration", "attributes.system.queue", "attributes.system.constraints",
    "attributes.system", "resources", "tasks", "[:]", "[-1:]", "[1:-1]", "[9223372036854775807:-9223372036854775808]",
    "[", ":", "[:", ">=1", "<nan", ">=inf", "t_run", "per-task", "off", "map:", "map:0", "map:0-2147483647",
    "n[0-1000000]", "none", "update", "overwrite",
    "force-overwrite", "base64", "utf-8", "e30=", "====", "YQ==", "file", "kvs", "truncate", "append", "{{id}}",
    "{{task.id}}", "{{node.name}}", "{{", "{{}}", "{{tmpdir}}", "../x", "a/../b", "missing", "sleep", "and", "or",
    "not",
    "hostlist", "ranks", "properties", "^big", "!big",
  ]
}
