// SPDX-License-Identifier: LGPL-3.0-only

/// A word of a constraint query (Flux RFC 35).
struct ConstraintQueryToken {
  enum Kind { case term, not, and, or, minus, open, close }

  var kind: Kind
  var text: String
  /// In UTF-8 bytes from the start of the query.
  var offset: Int
}

/// Splits a constraint query into words.
struct ConstraintQueryLexer {
  private let scalars: [Unicode.Scalar]
  private var position = 0
  private var offset = 0
  private var result: [ConstraintQueryToken] = []
  /// A term that ends in `:`, which the next term continues: `host:'a b'`.
  private var pending: ConstraintQueryToken?

  init(_ query: String) { scalars = Array(query.unicodeScalars) }

  mutating func tokens() throws(FormatError) -> [ConstraintQueryToken] {
    while let scalar = current {
      switch scalar {
      case " ", "\t", "\r", "\n", "\u{C}", "\u{B}": advance()
      case "(": add(.open, 1)
      case ")": add(.close, 1)
      case "-": add(.minus, 1)
      case "&": add(.and, matches("&&") ? 2 : 1)
      case "|": add(.or, matches("||") ? 2 : 1)
      case "'", "\"": try addQuoted(scalar)
      default: try addWord()
      }
    }
    if let pending {
      throw FormatError(.constraint, "missing argument to '\(pending.text.excerpt)'", offset: pending.offset)
    }
    return result
  }

  private var current: Unicode.Scalar? { position < scalars.count ? scalars[position] : nil }

  private func matches(_ word: String) -> Bool {
    scalars[position...].starts(with: word.unicodeScalars)
  }

  /// Whether a keyword starts here and ends where a word ends.
  private func matches(keyword: String) -> Bool {
    guard matches(keyword) else { return false }
    let end = position + keyword.unicodeScalars.count
    guard end < scalars.count else { return true }
    let next = scalars[end]
    return !(next == "_" || next.properties.isAlphabetic || next.properties.numericType != nil)
  }

  private mutating func advance() {
    offset += UTF8.width(scalars[position])
    position += 1
  }

  /// Takes scalars as long as they belong to the text, and returns them.
  private mutating func take(while belongs: (Unicode.Scalar) -> Bool) -> String {
    var text = String.UnicodeScalarView()
    while let scalar = current, belongs(scalar) {
      text.append(scalar)
      advance()
    }
    return String(text)
  }

  private mutating func add(_ kind: ConstraintQueryToken.Kind, _ count: Int) {
    let text = String(String.UnicodeScalarView(scalars[position..<(position + count)]))
    result.append(ConstraintQueryToken(kind: kind, text: text, offset: offset))
    for _ in 0..<count { advance() }
  }

  private mutating func addWord() throws(FormatError) {
    if matches(keyword: "not") { return add(.not, 3) }
    if matches(keyword: "and") { return add(.and, 3) }
    if matches(keyword: "or") { return add(.or, 2) }
    let start = offset
    let text = take { !"()|&'\"".unicodeScalars.contains($0) && !$0.properties.isWhitespace }
    guard !text.isEmpty else { throw FormatError(.constraint, "illegal character in the constraint", offset: start) }
    addTerm(text, start)
  }

  private mutating func addQuoted(_ quote: Unicode.Scalar) throws(FormatError) {
    let start = offset
    advance()
    let text = take { $0 != quote }
    guard current != nil else { throw FormatError(.constraint, "unclosed quote \(quote)", offset: start) }
    advance()
    if !text.isEmpty { addTerm(text, start) }
  }

  private mutating func addTerm(_ text: String, _ start: Int) {
    if let first = pending {
      pending = nil
      result.append(ConstraintQueryToken(kind: .term, text: first.text + text, offset: first.offset))
    } else if text.hasSuffix(":") {
      pending = ConstraintQueryToken(kind: .term, text: text, offset: start)
    } else {
      result.append(ConstraintQueryToken(kind: .term, text: text, offset: start))
    }
  }
}
