// SPDX-License-Identifier: LGPL-3.0-only

import Testing

@Suite struct CaseFileTests {
  @Test func parts() {
    let file = CaseFile(name: "x", parsing: "# head\n\n== a\nflux a\n\n== b: c\n!! why\nflux b\nflux c\n")
    #expect(file.heading == "head")
    #expect(
      file.cases == [
        ComparisonCase(name: "a", script: "flux a"),
        ComparisonCase(name: "b: c", script: "flux b\nflux c", reason: "why"),
      ])
  }

  @Test func namesAreUnique() throws {
    for file in try CaseFile.all() {
      #expect(Set(file.cases.map(\.name)).count == file.cases.count, "\(file.name)")
      #expect(!file.cases.contains { $0.script.isEmpty })
    }
  }
}
