// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc
import Testing

@Suite struct JSONHostileTests {
  @Test(arguments: ["[", "{\"a\":", "[[{\"\":"])
  func deepNestingIsAnErrorNotACrash(unit: String) {
    let text = String(repeating: unit, count: 1_000_000)
    #expect(throws: FormatError.self) { try JSON(parsing: text) }
    var limits = JSON.Limits()
    limits.depth = .max
    #expect(throws: FormatError.self) { try JSON(parsing: text, limits: limits) }
  }

  /// The objects on the way to a value are not copied for it.
  @Test(.timeLimit(.minutes(5))) func manyValuesAreSetByPath() async {
    var json: JSON = [:]
    for number in 0..<60_000 {
      json.set(path: "a.b.\(number)", to: .int(Int64(number)))
      if number % 1000 == 0 { await Task.yield() }
    }
    #expect(json["a"]?["b"]?.objectValue?.count == 60_000)
    #expect(json.value(at: "a.b.59999") == 59_999)
  }

  @Test func depthLimitIsExact() throws {
    let text = { (depth: Int) in String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
    #expect(throws: Never.self) { try JSON(parsing: text(64)) }
    #expect(throws: FormatError.self) { try JSON(parsing: text(65)) }
    var limits = JSON.Limits()
    limits.depth = 1
    #expect(try JSON(parsing: "[1,{}]".replacing("{}", with: "2"), limits: limits) == [1, 2])
    #expect(throws: FormatError.self) { try JSON(parsing: "[1,{}]", limits: limits) }
    limits.depth = 0
    #expect(try JSON(parsing: "1", limits: limits) == 1)
    #expect(throws: FormatError.self) { try JSON(parsing: "[]", limits: limits) }
  }

  @Test func byteLimit() throws {
    var limits = JSON.Limits()
    limits.bytes = 4
    #expect(try JSON(parsing: "1234", limits: limits) == 1234)
    #expect(throws: FormatError.self) { try JSON(parsing: "12345", limits: limits) }
  }

  @Test func hugeNumbers() throws {
    let digits = String(repeating: "9", count: 300)
    #expect(try JSON(parsing: digits).doubleValue == Double(digits))
    #expect(throws: FormatError.self) { try JSON(parsing: String(repeating: "9", count: 100_000)) }
    #expect(throws: FormatError.self) { try JSON(parsing: "1e" + digits) }
    #expect(try JSON(parsing: "1e-" + digits).doubleValue == 0)
    let fraction = "0." + String(repeating: "0", count: 5000) + "1"
    #expect(try JSON(parsing: fraction).doubleValue == 0)
    #expect(try JSON(parsing: "0." + String(repeating: "3", count: 5000)).doubleValue == 1.0 / 3)
  }

  @Test func everyTruncationIsAnError() throws {
    let text = #"{"aé":[1.5e3,-2,"x\u00e9\ud83d\ude03\n",true,false,null,{"b":{}}],"c":""}"#
    let bytes = Array(text.utf8)
    for count in bytes.indices {
      #expect(throws: FormatError.self) { try JSON(parsing: bytes[..<count]) }
    }
    #expect(throws: Never.self) { try JSON(parsing: bytes) }
  }

  @Test func mutatedTextNeverCrashes() {
    var random = SplitMix64(seed: 4)
    let seedText =
      #"{"aé":[1.5e3,-2,"x\u00e9\ud83d\ude03\n",true,false,null,{"b":{}}],"c":"","d":12345678901234567890}"#
    var accepted = 0
    for _ in 0..<20000 {
      var bytes = Array(seedText.utf8)
      for _ in 0..<random.int(1...3) {
        bytes[random.int(0...(bytes.count - 1))] = UInt8(truncatingIfNeeded: random.next())
      }
      guard let value = try? JSON(parsing: bytes) else { continue }
      accepted += 1
      #expect((try? JSON(parsing: value.text)) == value)
    }
    #expect(accepted > 100 && accepted < 19000)
  }

  /// Far more than noise lies between linear, 16, and quadratic, 256; and it is this thread's processor time, whatever else the machine does.
  @Test func manyKeysTakeLinearTime() throws {
    func seconds(_ count: Int) throws -> Double {
      let text = "{" + (0..<count).map { "\"key\($0)\":\($0)" }.joined(separator: ",") + "}"
      let bytes = Array(text.utf8)
      var best = Double.infinity
      for _ in 0..<3 {
        let start = Self.processorTime()
        let value = try JSON(parsing: bytes)
        #expect(value.objectValue?.count == count && value["key\(count - 1)"] == .int(Int64(count - 1)))
        best = min(best, Self.processorTime() - start)
      }
      return best
    }
    let small = try seconds(1000)
    let large = try seconds(16000)
    #expect(large / small < 100, "16 times the keys took \(large / small) times as long; quadratic is 256")
  }

  private static func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
