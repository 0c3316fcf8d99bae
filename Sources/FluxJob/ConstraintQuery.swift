// SPDX-License-Identifier: LGPL-3.0-only

extension Constraint {
  /// Parses a constraint query (Flux RFC 35) as `flux submit --requires` does.
  ///
  /// Terms are properties (`a`, `^a`, `a,b`), `host:LIST` (or `hosts:`, `hostlist:`), `rank:IDSET` (or `ranks:`),
  /// possibly in quotes. They are joined by `and`, `&`, `&&` or juxtaposition, and by `or`, `|`, `||`, which binds less
  /// than `and`; as in Flux, juxtaposition binds least of all when an `or` or `and` comes before it: `a|b c` is
  /// `(a|b)&c`. `not` negates an expression, `-` a term.
  /// - Throws: ``FormatError`` with code `constraint` and the byte offset.
  public init(parsingQuery query: String) throws(FormatError) {
    var parser = try ConstraintQueryParser(query)
    self = try parser.parse()
  }
}

/// Parser by operator precedence, with the precedences that make it agree with Flux's generated one.
private struct ConstraintQueryParser {
  private let tokens: [ConstraintQueryToken]
  private let end: Int
  private var position = 0
  private var count = Constraint.Count()

  init(_ query: String) throws(FormatError) {
    var lexer = ConstraintQueryLexer(query)
    tokens = try lexer.tokens()
    end = query.utf8.count
  }

  private var current: ConstraintQueryToken? { position < tokens.count ? tokens[position] : nil }

  private func unexpected() -> FormatError {
    guard let token = current else {
      let opened = tokens.reduce(0) { $0 + ($1.kind == .open ? 1 : $1.kind == .close ? -1 : 0) }
      return FormatError(
        .constraint, opened > 0 ? "unclosed parenthesis" : "unexpected end of the constraint", offset: end)
    }
    return FormatError(.constraint, "unexpected '\(token.text.excerpt)' in the constraint", offset: token.offset)
  }

  mutating func parse() throws(FormatError) -> Constraint {
    let result = try expression(above: -1, depth: 0)
    guard current == nil else { throw unexpected() }
    return result
  }

  /// An expression made of operators that bind more than `level`.
  private mutating func expression(above level: Int, depth: Int) throws(FormatError) -> Constraint {
    guard depth < Constraint.depthLimit else {
      throw FormatError(
        .constraint, "the constraint nests deeper than \(Constraint.depthLimit)", offset: current?.offset)
    }
    var left = try operand(depth: depth)
    while let token = current, token.kind != .close, binding(token) > level {
      switch token.kind {
      case .or:
        position += 1
        Self.either(&left, try expression(above: 1, depth: depth + 1))
      case .and:
        position += 1
        Self.both(&left, try expression(above: 2, depth: depth + 1))
      default:
        Self.both(&left, try expression(above: 2, depth: depth + 1))
      }
    }
    return left
  }

  /// How much the operator that a token stands for binds; that of juxtaposition depends on what comes next.
  private func binding(_ token: ConstraintQueryToken) -> Int {
    switch token.kind {
    case .term, .open, .close: 0
    case .or: 1
    case .and: 2
    case .not: 3
    case .minus: 4
    }
  }

  private mutating func operand(depth: Int) throws(FormatError) -> Constraint {
    guard let token = current else { throw unexpected() }
    switch token.kind {
    case .term:
      position += 1
      return try term(token)
    case .not:
      position += 1
      return .not([try expression(above: 2, depth: depth + 1)])
    case .minus:
      position += 1
      guard let next = current, next.kind == .term else { throw unexpected() }
      position += 1
      return .not([try term(next)])
    case .open:
      position += 1
      let inner = try expression(above: -1, depth: depth + 1)
      guard current?.kind == .close else { throw unexpected() }
      position += 1
      return inner
    case .and, .or, .close:
      throw unexpected()
    }
  }

  private mutating func term(_ token: ConstraintQueryToken) throws(FormatError) -> Constraint {
    let aliases = ["host": "hostlist", "hosts": "hostlist", "rank": "ranks"]
    let colon = token.text.firstIndex(of: ":")
    let name = colon.map { String(token.text[..<$0]) } ?? "properties"
    let value = colon.map { String(token.text[token.text.index(after: $0)...]) } ?? token.text
    let operation = aliases[name] ?? name
    let values =
      operation == "properties" ? value.split(separator: ",", omittingEmptySubsequences: false) : [value[...]]
    guard ["properties", "hostlist", "ranks"].contains(operation) else {
      throw FormatError(.constraint, "unknown constraint operator '\(operation.excerpt)'", offset: token.offset)
    }
    do throws(FormatError) {
      return try Constraint.leaf(operation, values.map(String.init), &count)
    } catch {
      throw FormatError(.constraint, error.message, offset: token.offset)
    }
  }

  // Both take the operands out of the expression on the left, so that long queries need no copies of them.

  private static func both(_ left: inout Constraint, _ right: Constraint) {
    if case .and(var operands) = left {
      left = .and([])
      operands.append(right)
      left = .and(operands)
    } else if case .properties(var names) = left, case .properties(let others) = right {
      left = .and([])
      names += others
      left = .properties(names)
    } else {
      left = .and([left, right])
    }
  }

  private static func either(_ left: inout Constraint, _ right: Constraint) {
    guard case .or(var operands) = left else {
      left = .or([left, right])
      return
    }
    left = .or([])
    operands.append(right)
    left = .or(operands)
  }
}
