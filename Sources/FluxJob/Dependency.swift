// SPDX-License-Identifier: LGPL-3.0-only

/// Something that a job waits for (Flux RFC 26), such as `afterok:ƒ7Kze`.
public struct Dependency: Hashable, Sendable {
  /// What kind of dependency, such as `afterok`.
  public var scheme: String
  /// What the job waits for; the meaning depends on the scheme.
  public var value: String
  /// Everything else; the meaning depends on the scheme. The keys `scheme` and `value` are ignored.
  public var options: JSONObject

  /// A dependency with the given parts.
  public init(scheme: String, value: String, options: JSONObject = JSONObject()) {
    self.scheme = scheme
    self.value = value
    self.options = options
  }

  /// The dependency of a JSON object, as in a jobspec.
  /// - Throws: ``FormatError`` with code `dependency` and the text of Flux, such as `Missing key (scheme)`.
  public init(_ json: JSON) throws(FormatError) {
    guard case .object(var object) = json else { throw FormatError(.dependency, "dependency must be a mapping") }
    for key in ["scheme", "value"] where object[key] == nil {
      throw FormatError(.dependency, "Missing key (\(key))")
    }
    guard let scheme = object["scheme"]?.stringValue else {
      throw FormatError(.dependency, "dependency scheme must be a string")
    }
    guard let value = object["value"]?.stringValue else {
      throw FormatError(.dependency, "dependency value must be a string")
    }
    object["scheme"] = nil
    object["value"] = nil
    self.init(scheme: scheme, value: value, options: object)
  }

  /// The dependency as a JSON object.
  public var json: JSON {
    var object: JSONObject = ["scheme": .string(scheme), "value": .string(value)]
    for (key, option) in options where key != "scheme" && key != "value" { object[key] = option }
    return .object(object)
  }
}

// MARK: - Command line

extension Dependency {
  /// Parses the form of the command line, `SCHEME:VALUE?key=val&key=val`, as `flux submit --dependency` does.
  ///
  /// Values that read as a number become numbers, all others stay strings; a key given twice becomes an array; keys and
  /// values (not the part before `?`) are percent-decoded, and `+` is a space; a `#` and what follows it are dropped, and
  /// so are spaces at the start.
  /// - Throws: ``FormatError`` with code `dependency`: the scheme is not a letter followed by letters, digits, `+`, `-`
  ///   or `.`, or an option is named `scheme` or `value`.
  public init(parsing commandLine: String) throws(FormatError) {
    let text = commandLine.unicodeScalars.drop { $0 <= " " }
    let colon = text.firstIndex(of: ":") ?? text.endIndex
    let name = String(text[..<colon])
    guard Self.isScheme(name) else {
      throw FormatError(.dependency, "Invalid dependency URI \"\(commandLine.excerpt)\": write SCHEME:VALUE?key=value")
    }
    var rest = text[colon...].dropFirst()
    rest = rest[..<(rest.firstIndex(of: "#") ?? rest.endIndex)]
    let question = rest.firstIndex(of: "?") ?? rest.endIndex
    self.init(
      scheme: name.lowercased(), value: String(rest[..<question]),
      options: try Self.parseOptions(String(rest[question...].dropFirst())))
  }

  private static func isScheme(_ name: String) -> Bool {
    func isLetter(_ byte: UInt8) -> Bool { (0x61...0x7A).contains(byte | 0x20) }
    guard let first = name.utf8.first, isLetter(first) else { return false }
    return name.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || "+-.".utf8.contains($0) }
  }

  private static func parseOptions(_ query: String) throws(FormatError) -> JSONObject {
    var values: [(key: String, values: [JSON])] = []
    var positions: [String: Int] = [:]
    for field in query.utf8.split(separator: UInt8(ascii: "&")) {
      // As in Python's parse_qs, a field without a value is dropped.
      guard let equals = field.firstIndex(of: UInt8(ascii: "=")) else { continue }
      let key = decode(field[..<equals])
      let text = decode(field[field.index(after: equals)...])
      guard !text.isEmpty else { continue }
      guard key != "scheme", key != "value" else {
        throw FormatError(.dependency, "a dependency option cannot be named '\(key)'")
      }
      let value = number(text) ?? .string(text)
      if let position = positions[key] {
        values[position].values.append(value)
      } else {
        positions[key] = values.count
        values.append((key, [value]))
      }
    }
    var options = JSONObject()
    for (key, values) in values { options[key] = values.count == 1 ? values[0] : .array(values) }
    return options
  }

  /// Percent-decodes; invalid escapes stay, invalid UTF-8 is replaced.
  private static func decode(_ field: Substring.UTF8View) -> String {
    var bytes: [UInt8] = []
    var rest = field
    while let byte = rest.popFirst() {
      let digits = rest.prefix(2).compactMap(hexDigitValue)
      if byte == UInt8(ascii: "%"), digits.count == 2 {
        bytes.append(digits[0] << 4 | digits[1])
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// The number that a text stands for in Python, nil if none that JSON can hold.
  private static func number(_ text: String) -> JSON? {
    let trimmed = text.utf8.drop { $0 == 0x20 || (0x09...0x0D).contains($0) }
    let end = trimmed.lastIndex { !($0 == 0x20 || (0x09...0x0D).contains($0)) }
    guard let end, trimmed.count <= 512 else { return nil }
    // Underscores may stand between digits.
    var digits: [UInt8] = []
    let bytes = Array(trimmed[...end])
    for (position, byte) in bytes.enumerated() {
      switch byte {
      case UInt8(ascii: "_"):
        let neighbours = [position - 1, position + 1].filter { bytes.indices.contains($0) }
        guard neighbours.count == 2, neighbours.allSatisfy({ (0x30...0x39).contains(bytes[$0]) }) else { return nil }
      case 0x30...0x39, UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"):
        digits.append(byte)
      default: return nil
      }
    }
    let plain = String(decoding: digits, as: UTF8.self)
    if let int = Int64(plain) { return .int(int) }
    guard let double = Double(plain), double.isFinite else { return nil }
    return .double(double)
  }
}
