// SPDX-License-Identifier: LGPL-3.0-only

/// A JSON value (RFC 8259).
///
/// Numbers written without fraction and exponent that fit in 64 signed bits are ``int(_:)``, all others
/// ``double(_:)``. Strings compare as Swift strings do (canonically equivalent text is equal).
public enum JSON: Sendable, Hashable {
  /// The literal `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number without fraction and exponent, within the range of `Int64`.
  case int(Int64)
  /// Any other number; written as `null` if it is not finite.
  case double(Double)
  /// A string.
  case string(String)
  /// An array.
  case array([JSON])
  /// An object, with its keys in the order of insertion.
  case object(JSONObject)
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral,
  ExpressibleByStringInterpolation
{
  /// ``null``.
  public init(nilLiteral: ()) { self = .null }
  /// A ``bool(_:)``.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// An ``int(_:)``.
  public init(integerLiteral value: Int64) { self = .int(value) }
  /// A ``double(_:)``.
  public init(floatLiteral value: Double) { self = .double(value) }
  /// A ``string(_:)``.
  public init(stringLiteral value: String) { self = .string(value) }
  /// An ``array(_:)``.
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  /// An ``object(_:)``; if a key occurs twice the last value wins.
  public init(dictionaryLiteral elements: (String, JSON)...) {
    var object = JSONObject()
    for (key, value) in elements { object[key] = value }
    self = .object(object)
  }
}

extension JSON {
  /// What a parser accepts at most; input beyond it is an error.
  public struct Limits: Sendable, Hashable {
    /// How deep arrays and objects may nest (`[]` is depth 1). Values above 512 count as 512.
    public var depth = 64
    /// How many bytes of input are accepted.
    public var bytes = 64 << 20

    /// The default limits: depth 64, 64 MiB.
    public init() {}
  }

  /// Parses strict RFC 8259 text.
  ///
  /// Of duplicate keys the last wins. `\u0000` is allowed. More than 64 combining marks that follow each other are put in their canonical order,
  /// which to Unicode is the same text; but not where programs' input and output is kept: members `data`, `event`, `guest.input`, `guest.output`.
  /// - Throws: ``FormatError`` with code `json` and the byte offset: syntax, invalid UTF-8, a lone surrogate, trailing
  ///   text, a number beyond `Double`, or input beyond `limits`.
  public init(parsing text: String, limits: Limits = Limits()) throws(FormatError) {
    try self.init(parsing: text.utf8, limits: limits)
  }

  /// Parses strict RFC 8259 text given as UTF-8 bytes; fastest from contiguous storage.
  /// - Throws: ``FormatError`` with code `json`, as the other initializer.
  public init(parsing bytes: some Collection<UInt8>, limits: Limits = Limits()) throws(FormatError) {
    let result =
      bytes.withContiguousStorageIfAvailable { JSONParser.parse($0, limits: limits) }
      ?? Array(bytes).withUnsafeBufferPointer { JSONParser.parse($0, limits: limits) }
    self = try result.get()
  }

  /// The value as compact JSON: keys in the order of insertion, no spaces.
  public var text: String {
    var bytes: [UInt8] = []
    write(to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The same with a space after each comma and colon between values, as Flux's library writes what it puts together anew.
  public var spacedText: String {
    var bytes: [UInt8] = []
    JSONWriter.write(self, spaced: true, to: &bytes)
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Appends the same text as ``text`` as UTF-8.
  public func write(to bytes: inout [UInt8]) {
    JSONWriter.write(self, to: &bytes)
  }
}

extension JSON: CustomStringConvertible {
  /// The same as ``text``.
  public var description: String { text }
}
