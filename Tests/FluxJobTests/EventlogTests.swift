// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct EventlogTests {
  @Test func exampleOfTheRFC() throws {
    let text = """
      {"timestamp":1552593348.073045,"name":"submit","context":{"urgency":16,"userid":5588,"flags":0}}
      {"timestamp":1552593348.093541,"name":"free"}
      {"timestamp":1552593348.09283,"name":"release","context":{"ranks":"all","final":true}}

      """
    let log = try Eventlog(parsing: text)
    #expect(log.entries.map(\.name) == ["submit", "free", "release"])
    #expect(log.entries[0].timestamp == 1552593348.073045 && log.entries[0].context?["userid"] == 5588)
    #expect(log.entries[1].context == nil)
    #expect(log.text == text)
    #expect(log.text == log.entries.map(\.line).joined())
  }

  @Test func lines() throws {
    let entry = EventlogEntry(timestamp: 1.5, name: "x", context: ["note": "a\nb"])
    #expect(entry.line == #"{"timestamp":1.5,"name":"x","context":{"note":"a\nb"}}"# + "\n")
    #expect(try EventlogEntry(parsing: entry.line) == entry)
    #expect(try EventlogEntry(parsing: String(entry.line.dropLast())) == entry)
    #expect(try EventlogEntry(parsing: #" { "name" : "n", "extra": 1, "timestamp" : 2 } "#).timestamp == 2)
    #expect(try EventlogEntry(entry.json) == entry)
    #expect(
      EventlogEntry(timestamp: 2, name: "y", context: [:]).line == #"{"timestamp":2.0,"name":"y","context":{}}"# + "\n")
  }

  @Test(arguments: [
    "", "\n", "[]", "{}", #"{"name":"x"}"#, #"{"timestamp":1}"#, #"{"timestamp":"1","name":"x"}"#,
    #"{"timestamp":1,"name":2}"#, #"{"timestamp":1,"name":"x","context":null}"#,
    #"{"timestamp":1,"name":"x","context":[]}"#,
    #"{"timestamp":1,"name":"x"}{"timestamp":1,"name":"x"}"#, "{\"timestamp\":1,\n\"name\":\"x\"}",
    "{\"timestamp\":1,\"name\":\"x\"}\n\n", #"{"timestamp":1,"name":"x","#,
  ])
  func rejects(text: String) {
    #expect { try EventlogEntry(parsing: text) } throws: { ($0 as? FormatError)?.code == .eventlog }
  }

  @Test func logs() throws {
    #expect(try Eventlog(parsing: "").entries.isEmpty)
    #expect(Eventlog().text == "")
    let line = #"{"timestamp":1,"name":"x"}"#
    #expect(try Eventlog(parsing: line).entries.count == 1)
    #expect(try Eventlog(parsing: "\(line)\n\(line)").entries.count == 2)
    #expect(throws: FormatError.self) { try Eventlog(parsing: "\n") }
  }

  @Test func errorSaysTheLine() {
    let line = #"{"timestamp":1,"name":"x"}"#
    for bad in ["", "{", #"{"timestamp":1}"#] {
      #expect { try Eventlog(parsing: "\(line)\n\(line)\n\(bad)\n\(line)\n") } throws: { error in
        let error = error as? FormatError
        return error?.message.hasPrefix("line 3: ") == true && (error?.offset ?? 0) >= 2 * (line.utf8.count + 1)
      }
    }
  }

  @Test func roundTripsRandomLogs() throws {
    var random = SplitMix64(seed: 14)
    for _ in 0..<300 {
      let log = Eventlog(
        entries: (0..<random.int(0...8)).map { _ in
          EventlogEntry(
            timestamp: Double(random.skewed()) / 1000, name: random.text(),
            context: random.bool() ? nil : ["a": random.json(depth: 3), "b": 1])
        })
      #expect(try Eventlog(parsing: log.text) == log)
      #expect(log.text.utf8.count { $0 == 0x0A } == log.entries.count)
    }
  }
}
