// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// The rules of --env and --env-remove: how the job's environment is made from the caller's.
struct EnvironmentRules {
  /// The job's environment so far.
  private(set) var variables: [String: String]
  /// Variables whose value the job shell expands: those with a `{{template}}`.
  private(set) var templates: [String: String] = [:]
  private let caller: [String: String]

  /// Starts with the caller's whole environment.
  init(caller: [String: String]) {
    self.caller = caller
    variables = caller
  }

  /// Applies one rule.
  mutating func apply(_ rule: String, depth: Int = 0) throws {
    if rule.hasPrefix("-") {
      let matches = try Self.matcher(String(rule.dropFirst()))
      variables = variables.filter { !matches($0.key) }
    } else if rule.hasPrefix("^") {
      guard depth < 8 else { throw CommandFailure("--env: files of rules are nested too deeply") }
      for line in try Self.lines(of: String(rule.dropFirst())) { try apply(line, depth: depth + 1) }
    } else if let equals = rule.firstIndex(of: "=") {
      let name = String(rule[..<equals])
      let value = String(rule[rule.index(after: equals)...])
      if value.contains("{{") { templates[name] = value } else { variables[name] = try expand(value, rule) }
    } else {
      let matches = try Self.matcher(rule)
      variables.merge(caller.filter { matches($0.key) }) { kept, _ in kept }
    }
  }

  /// Replaces `$NAME` and `${NAME}`; `$$` is a dollar sign.
  private func expand(_ value: String, _ rule: String) throws -> String {
    var result = ""
    var rest = value[...]
    while let dollar = rest.firstIndex(of: "$") {
      result += rest[..<dollar]
      rest = rest[rest.index(after: dollar)...]
      if rest.first == "$" {
        result += "$"
        rest = rest.dropFirst()
        continue
      }
      let isBraced = rest.first == "{"
      if isBraced { rest = rest.dropFirst() }
      let name = rest.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
      rest = rest.dropFirst(name.count)
      let isClosed = !isBraced || rest.first == "}"
      guard !name.isEmpty, isClosed else { throw CommandFailure("--env: Unable to substitute \(rule)") }
      if isBraced { rest = rest.dropFirst() }
      guard let found = variables[String(name)] ?? caller[String(name)] else {
        throw CommandFailure("--env: Variable '\(name)' not found in \(rule)")
      }
      result += found
    }
    return result + rest
  }

  /// A test for a shell pattern, or for a regular expression when it begins with a slash.
  static func matcher(_ pattern: String) throws -> (String) -> Bool {
    guard pattern.hasPrefix("/") else {
      return { fnmatch(pattern, $0, 0) == 0 }
    }
    var body = pattern.dropFirst()
    while body.last == "/" { body = body.dropLast() }
    guard let expression = try? Regex(String(body)) else {
      throw CommandFailure("'\(pattern)' is not a regular expression")
    }
    return { (try? expression.prefixMatch(in: $0)) ?? nil != nil }
  }

  private static func lines(of path: String) throws -> [String] {
    var path = path
    if path == "~" || path.hasPrefix("~/"), let home = getenv("HOME") {
      path = String(cString: home) + path.dropFirst()
    }
    let text = String(decoding: try FileContents.read(path, label: "--env"), as: UTF8.self)
    return text.split(whereSeparator: \.isNewline).map { line in
      String(line.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
  }
}
