// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct JSONTests {
  static let valid: [(String, JSON)] = [
    ("null", JSON.null), ("true", true), (" false\n", false), ("0", 0), ("-0", 0), ("42", 42), ("-7", -7),
    ("9223372036854775807", .int(.max)), ("-9223372036854775808", .int(.min)),
    ("9223372036854775808", .double(9_223_372_036_854_775_808)),
    ("-9223372036854775809", .double(-9_223_372_036_854_775_808)),
    ("18446744073709551615", .double(18_446_744_073_709_551_616)), ("1.0", .double(1)), ("1e2", .double(100)),
    ("-2.5E-3", .double(-0.0025)), ("1552593348.073045", .double(1552593348.073045)),
    ("5e-324", .double(.leastNonzeroMagnitude)),
    ("0.1", .double(0.1)), ("123456789012345678901234567890", .double(123_456_789_012_345_677_877_719_597_056)),
    ("1.7976931348623157e308", .double(1.7976931348623157e308)), ("0e99999999999999999999", .double(0)),
    ("\"\"", ""), ("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\u{8}\u{C}\n\r\tz"), ("\"\\u0041\\u00e9\\u4E2d\"", "Aé中"),
    ("\"\\ud83d\\ude03\"", "😃"), ("\"x\\u0000y\"", "x\0y"), ("\"ƒ😃\"", "ƒ😃"), ("[]", []), ("[ 1 , [ ] ]", [1, []]),
    ("{}", [:]), ("\t{ \"a\" : 1 , \"b\" : { } }\r\n", ["a": 1, "b": [:]]),
    ("{\"a\":1,\"b\":2,\"a\":3}", ["a": 3, "b": 2]),
  ]

  @Test(arguments: valid)
  func parses(text: String, value: JSON) throws {
    #expect(try JSON(parsing: text) == value)
  }

  @Test(arguments: [
    ("", 0), (" ", 1), ("nul", 0), ("nulL", 0), ("True", 0), ("01", 0), ("-01", 1), ("-", 1), ("1.", 2), (".5", 0),
    ("1e", 2), ("1e+", 3), ("+1", 0), ("0x10", 1), ("1 2", 2), ("1e999", 0), ("-1e999", 0), ("NaN", 0), ("Infinity", 0),
    ("\"", 1), ("\"a", 2), ("\"\\", 2), ("\"\\x\"", 2), ("\"\\u12\"", 3), ("\"\\u12g4\"", 3), ("\"a\u{1}\"", 2),
    ("\"a\nb\"", 2), ("\"\\ud800\"", 7), ("\"\\udc00\"", 7), ("\"\\ud800\\u0041\"", 13), ("\"\\ud800\\ue000\"", 13),
    ("\"\u{1F}\"", 1), ("\"\\ud800x\"", 7), ("[", 1),
    ("[1", 2), ("[1,]", 3), ("[1 2]", 3), ("[,1]", 1), ("]", 0), ("{", 1), ("{\"a\"", 4), ("{\"a\":", 5),
    ("{\"a\":1", 6),
    ("{\"a\":1,}", 7), ("{a:1}", 1), ("{1:1}", 1), ("{\"a\" 1}", 5), ("{}}", 2), ("'a'", 0), ("[1]x", 3),
    ("\u{FEFF}1", 0),
    ("// c\n1", 0), ("\u{A0}1", 0),
  ])
  func rejects(text: String, offset: Int) {
    #expect {
      try JSON(parsing: text)
    } throws: { error in
      let error = error as? FormatError
      return error?.code == .json && error?.offset == offset
    }
  }

  @Test(arguments: [
    [0x22, 0x80, 0x22], [0x22, 0xC0, 0x80, 0x22], [0x22, 0xED, 0xA0, 0x80, 0x22], [0x22, 0xF5, 0x80, 0x80, 0x80, 0x22],
    [0x22, 0xE2, 0x82, 0x22], [0x22, 0x5C, 0x6E, 0xFF, 0x22], [0x7B, 0x22, 0xFF, 0x22, 0x3A, 0x31, 0x7D], [0xFF],
  ])
  func rejectsInvalidUTF8(bytes: [Int]) {
    #expect(throws: FormatError.self) { try JSON(parsing: bytes.map { UInt8($0) }) }
  }

  @Test func parsesBytesWithoutContiguousStorage() throws {
    let bytes = Array(#"{"a":[1,2.5,"x"]}"#.utf8)
    #expect(try JSON(parsing: bytes.lazy.map { $0 }) == ["a": [1, 2.5, "x"]])
    #expect(try JSON(parsing: bytes[...]) == ["a": [1, 2.5, "x"]])
  }

  static let written: [(JSON, String)] = [
    (JSON.null, "null"), (true, "true"), (.int(.min), "-9223372036854775808"), (0, "0"), (1.0, "1.0"), (2.5, "2.5"),
    (.double(.nan), "null"), (.double(.infinity), "null"), (.double(-.infinity), "null"), (.double(-0.0), "-0.0"),
    ("a\"\\/\u{8}\u{C}\n\r\t\u{0}\u{1F}\u{7F}é", "\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001F\u{7F}é\""),
    (["b": 1, "a": [1, 2.5], "": [:]], #"{"b":1,"a":[1,2.5],"":{}}"#), ([], "[]"),
  ]

  @Test(arguments: written)
  func writes(value: JSON, text: String) {
    #expect(value.text == text)
    var bytes: [UInt8] = [0x41]
    value.write(to: &bytes)
    #expect(bytes == Array("A\(text)".utf8))
  }

  @Test func roundTripsRandomValues() throws {
    var random = SplitMix64(seed: 1)
    for _ in 0..<3000 {
      let value = random.json(depth: 4)
      let text = value.text
      let parsed = try JSON(parsing: text)
      #expect(parsed == value)
      #expect(parsed.text == text)
      #expect(parsed.hashValue == value.hashValue)
    }
  }

  @Test func readsBackEveryDouble() throws {
    var random = SplitMix64(seed: 2)
    for _ in 0..<20000 {
      let number = Double(bitPattern: random.next())
      guard number.isFinite else { continue }
      #expect(try JSON(parsing: JSON.double(number).text) == .double(number))
    }
    for _ in 0..<20000 {  // decimal numbers with few digits take another way through the parser
      let text = "\(random.bool() ? "-" : "")\(random.skewed()).\(random.int(0...99999))e\(random.int(-40...40))"
      #expect(try JSON(parsing: text).doubleValue == Double(text))
    }
  }

  @Test func accessors() {
    let value: JSON = ["s": "x", "i": 7, "d": 7.0, "f": 7.5, "b": true, "a": [1, "two"], "n": nil, "o": ["k": 1]]
    #expect(value["s"]?.stringValue == "x" && value["s"]?.intValue == nil)
    #expect(value["i"]?.intValue == 7 && value["i"]?.doubleValue == 7)
    #expect(value["d"]?.intValue == 7 && value["f"]?.intValue == nil && value["f"]?.doubleValue == 7.5)
    #expect(JSON.double(0x1p63).intValue == nil && JSON.double(-0x1p63).intValue == .min)
    #expect(JSON.double(1e300).intValue == nil && JSON.double(.nan).intValue == nil)
    #expect(value["b"]?.boolValue == true && value["i"]?.boolValue == nil)
    #expect(value["a"]?[1] == "two" && value["a"]?[2] == nil && value["a"]?[-1] == nil && value["s"]?[0] == nil)
    #expect(value["n"]?.isNull == true && value["i"]?.isNull == false && value["absent"] == nil)
    #expect(value["o"]?.objectValue?.count == 1 && value["a"]?.arrayValue?.count == 2)
    #expect(value.value(at: "o.k") == 1 && value.value(at: "o.k.x") == nil && value.value(at: "absent") == nil)
  }

  @Test func setsMembers() {
    var value: JSON = ["a": 1]
    value["b"] = 2
    value["a"] = nil
    #expect(value.text == #"{"b":2}"#)
    value["b"] = JSON.null
    #expect(value.text == #"{"b":null}"#)
    var number: JSON = 1
    number["a"] = 2
    #expect(number == 1)
  }

  @Test func setsPaths() {
    var value: JSON = ["a": ["b": 1], "s": "text", "n": nil]
    value.set(path: "a.c.d", to: 2)
    value.set(path: "n.x", to: 3)
    value.set(path: "e", to: 4)
    #expect(value.text == #"{"a":{"b":1,"c":{"d":2}},"s":"text","n":{"x":3},"e":4}"#)
    let before = value
    for path in ["s.x", "a.b.x", "", ".", "a.", ".a", "a..b"] { value.set(path: path, to: 9) }
    #expect(value == before)
    var deep: JSON = [:]
    deep.set(path: Array(repeating: "k", count: 65).joined(separator: "."), to: 1)
    #expect(deep == [:])
    deep.set(path: Array(repeating: "k", count: 64).joined(separator: "."), to: 1)
    #expect(deep["k"]?["k"] != nil)
  }
}

@Suite struct JSONObjectTests {
  @Test func keepsOrderAndLooksUp() {
    var object = JSONObject()
    for number in 0..<100 { object["k\(number)"] = .int(Int64(number)) }
    object["k3"] = "changed"
    object["k50"] = nil
    object["k0"] = nil
    #expect(object.count == 98 && object.keys.count == 98 && !object.isEmpty)
    #expect(object.keys.first == "k1" && object.keys.last == "k99")
    #expect(object["k3"] == "changed" && object["k50"] == nil && object["k51"] == 51 && object["k99"] == 99)
    for number in 10..<100 { object["k\(number)"] = nil }
    #expect(object.keys == (1..<10).map { "k\($0)" } && object["k9"] == 9)
    #expect(object.map(\.key) == object.keys && object.map(\.value).last == 9)
  }

  @Test func equalityIgnoresOrder() {
    let first: JSONObject = ["a": 1, "b": [2]]
    let second: JSONObject = ["b": [2], "a": 1]
    #expect(first == second && first.hashValue == second.hashValue)
    #expect(first != ["a": 1] && first != ["a": 1, "b": [3]] && first != ["a": 1, "c": [2]])
    #expect(JSONObject() == [:] && JSONObject().isEmpty)
    let twice: JSONObject = ["a": 1, "a": 2]
    #expect(twice.count == 1 && twice["a"] == 2)
  }

  @Test func behavesLikeADictionary() {
    var random = SplitMix64(seed: 3)
    var object = JSONObject()
    var model: [String: JSON] = [:]
    for _ in 0..<5000 {
      let key = "k\(random.int(0...40))"
      let value: JSON? = random.int(0...2) == 0 ? nil : .int(Int64(random.int(0...9)))
      object[key] = value
      model[key] = value
      #expect(object.count == model.count && object[key] == model[key])
    }
    #expect(Dictionary(uniqueKeysWithValues: object.map { ($0.key, $0.value) }) == model)
  }
}

extension SplitMix64 {
  mutating func json(depth: Int) -> JSON {
    switch int(0...(depth > 0 ? 8 : 5)) {
    case 0: return .null
    case 1: return .bool(bool())
    case 2: return .int(Int64(bitPattern: bool() ? skewed() : 0 &- skewed()))
    case 3:
      let number = Double(bitPattern: next())
      return .double(number.isFinite ? number : 0.5)
    case 4: return .double(Double(int(-100_000...100_000)) / 64)
    case 5: return .string(text())
    case 6: return .array((0..<int(0...5)).map { _ in json(depth: depth - 1) })
    default:
      var object = JSONObject()
      for _ in 0..<int(0...(int(0...9) == 0 ? 40 : 5)) { object[text(0...4)] = json(depth: depth - 1) }
      return .object(object)
    }
  }
}
