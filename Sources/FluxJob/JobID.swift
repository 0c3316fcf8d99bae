// SPDX-License-Identifier: LGPL-3.0-only

/// A job id, or FLUID (Flux RFC 19): 40 bits of milliseconds since the start of the instance, 14 bits of generator
/// (usually the broker rank), 10 bits of sequence number.
public struct JobID: RawRepresentable, Hashable, Comparable, Sendable {
  /// A way to write a job id (Flux RFC 19).
  public enum Encoding: String, CaseIterable, Sendable {
    /// Decimal: `1234567`.
    case dec
    /// Hexadecimal: `0x12d687`.
    case hex
    /// Four groups of four hexadecimal digits: `0000.0000.0012.d687`.
    case dothex
    /// The directory of the job in the KVS: `job.0000.0000.0012.d687`.
    case kvs
    /// Base58 after `ƒ` (U+0192): `ƒ7Kze`.
    case f58
    /// Base58 after ASCII `f`: `f7Kze`.
    case f58plain
    /// Six words: `mars-video-academy--academy-academy-academy`.
    case words
  }

  /// The id as a number.
  public var rawValue: UInt64

  /// The job id of a number; every number is one.
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The id made of a time (the low 40 bits of `milliseconds`), a generator (14 bits) and a sequence number (10 bits).
  public init(milliseconds: UInt64, generator: UInt16, sequence: UInt16) {
    rawValue =
      (milliseconds & ((1 << 40) - 1)) << 24 | UInt64(generator & ((1 << 14) - 1)) << 10
      | UInt64(sequence & ((1 << 10) - 1))
  }

  /// The id in a Flux message: the integer with the same 64 bits, so negative above 2^63.
  public var json: JSON { .int(Int64(bitPattern: rawValue)) }

  /// The id in a Flux message: any JSON integer (negative ones stand for their bit pattern); nil for anything else.
  public init?(_ json: JSON?) {
    guard case .int(let value)? = json else { return nil }
    rawValue = UInt64(bitPattern: value)
  }

  /// Orders by number, which is roughly the order of submission.
  public static func < (left: JobID, right: JobID) -> Bool { left.rawValue < right.rawValue }
}

extension JobID: CustomStringConvertible {
  /// The id in the ``Encoding/f58`` form.
  public var description: String { encoded(.f58) }
}

// MARK: - Encoding

extension JobID {
  private static let base58Digits = Array("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".utf8)

  /// The id in the given form.
  public func encoded(_ encoding: Encoding) -> String {
    switch encoding {
    case .dec: String(rawValue)
    case .hex: "0x" + String(rawValue, radix: 16)
    case .dothex: dothex
    case .kvs: "job." + dothex
    case .f58: "\u{192}" + base58
    case .f58plain: "f" + base58
    case .words: words
    }
  }

  private var dothex: String {
    let groups = [48, 32, 16, 0].map { shift in
      let digits = String((rawValue >> shift) & 0xFFFF, radix: 16)
      return String(repeating: "0", count: 4 - digits.utf8.count) + digits
    }
    return groups.joined(separator: ".")
  }

  private var base58: String {
    var digits: [UInt8] = []
    var rest = rawValue
    repeat {
      digits.append(Self.base58Digits[Int(rest % 58)])
      rest /= 58
    } while rest > 0
    return String(decoding: digits.reversed(), as: UTF8.self)
  }

  private var words: String {
    Self.words(rawValue & 0xFFFF_FFFF) + "--" + Self.words(rawValue >> 32)
  }

  /// Three words for 32 bits, the lowest digit first.
  private static func words(_ half: UInt64) -> String {
    var words: [Substring] = []
    var rest = half
    for _ in 0..<3 {
      words.append(JobIDWordList.words[Int(rest % 1626)])
      rest /= 1626
    }
    return words.joined(separator: "-")
  }
}

// MARK: - Parsing

extension JobID {
  /// Parses any form of ``Encoding``, with an optional prefix `job.`; base58 after `f` or `ƒ`.
  ///
  /// As in flux-core, base58 of up to 12 digits wraps modulo 2^64, groups of the dotted form may be short, and words may
  /// have any case and separator as long as there is a `-`. White space is not accepted.
  /// - Throws: ``FormatError`` with code `job-id`; also for the emoji form, which is not supported.
  public init(parsing text: String) throws(FormatError) {
    let id = text.hasPrefix("job.") ? text.dropFirst(4) : text[...]
    let value: UInt64?
    if id.utf8.contains(UInt8(ascii: ".")) {
      value = Self.parseDothex(id)
    } else if id.utf8.contains(UInt8(ascii: "-")) {
      value = Self.parseWords(id)
    } else if let first = id.unicodeScalars.first, first == "f" || first == "\u{192}" {
      value = Self.parseBase58(id.unicodeScalars.dropFirst())
    } else if id.utf8.starts(with: [0xF0, 0x9F]) {
      throw FormatError(.jobID, "job id '\(text.excerpt)': the emoji form is not supported")
    } else if id.hasPrefix("0x") {
      value = Self.parseNumber(id.utf8.dropFirst(2), radix: 16)
    } else {
      value = Self.parseNumber(id.utf8.first == UInt8(ascii: "+") ? id.utf8.dropFirst() : id.utf8, radix: 10)
    }
    guard let value else { throw FormatError(.jobID, "'\(text.excerpt)' is not a valid job id") }
    rawValue = value
  }

  /// Digits only, at least one, without overflow.
  private static func parseNumber(_ digits: Substring.UTF8View, radix: UInt64) -> UInt64? {
    guard !digits.isEmpty else { return nil }
    var value: UInt64 = 0
    for byte in digits {
      guard let digit = hexDigitValue(byte), digit < radix else { return nil }
      let (product, overflow) = value.multipliedReportingOverflow(by: radix)
      let (sum, carry) = product.addingReportingOverflow(UInt64(digit))
      guard !overflow, !carry else { return nil }
      value = sum
    }
    return value
  }

  private static func parseDothex(_ text: Substring) -> UInt64? {
    let groups = text.split(separator: ".", omittingEmptySubsequences: false)
    guard groups.count == 4 else { return nil }
    var value: UInt64 = 0
    for group in groups {
      guard group.utf8.count <= 4, let digits = parseNumber(group.utf8, radix: 16) else { return nil }
      value = value << 16 | digits
    }
    return value
  }

  private static func parseBase58(_ digits: Substring.UnicodeScalarView) -> UInt64? {
    guard !digits.isEmpty, digits.count <= 12 else { return nil }
    var value: UInt64 = 0
    for scalar in digits {
      guard scalar.isASCII, let digit = base58Digits.firstIndex(of: UInt8(truncatingIfNeeded: scalar.value)) else {
        return nil
      }
      value = value &* 58 &+ UInt64(digit)
    }
    return value
  }

  private static func parseWords(_ text: Substring) -> UInt64? {
    guard text.utf8.count <= 256 else { return nil }
    let words = text.lowercased().split { !("a"..."z").contains($0) }
    let digits = words.compactMap { JobIDWordList.digits[$0] }
    guard words.count == 6, digits.count == 6 else { return nil }
    var value: UInt64 = 0
    for half in [digits[3...], digits[..<3]] {
      let number = half.reversed().reduce(0) { $0 * 1626 + $1 }  // at most 1626^3 - 1, which is near 2^32
      guard number <= UInt32.max else { return nil }
      value = value << 32 | number
    }
    return value
  }
}
