// SPDX-License-Identifier: LGPL-3.0-only

import Testing

@testable import EmbeddedFlux

/// Streams are made as fast as they are read.
struct OutflowTests {
  /// A source of so many pieces of a megabyte, none of which is gone by itself.
  private final class Pieces {
    var given = 0
    let count: Int

    init(_ count: Int) { self.count = count }

    func give(into outflow: Outflow) -> Bool {
      guard given < count else { return false }
      given += 1
      _ = outflow.queued(1 << 20, for: "a")
      return true
    }
  }

  private final class Later {
    var work: [() -> Void] = []

    func run() {
      let due = work
      work = []
      for item in due { item() }
    }
  }

  @Test func aSlowReaderIsNotDrowned() {
    let later = Later()
    let outflow = Outflow(later: { later.work.append($0) })
    outflow.add("a")
    let pieces = Pieces(100)
    outflow.start(for: "a") { pieces.give(into: outflow) }
    #expect(pieces.given == 4 && later.work.isEmpty)
    outflow.sent(1 << 20, to: "a")
    #expect(pieces.given == 4, "whoever is writing comes first")
    later.run()
    #expect(pieces.given == 5)
    for _ in 0..<4 { outflow.sent(1 << 20, to: "a") }
    #expect(later.work.count == 1)
    later.run()
    #expect(pieces.given == 9)
    // Its connection ends: all that was on its way is gone, and nothing more is made.
    outflow.sent(4 << 20, to: "a")
    outflow.remove("a")
    later.run()
    #expect(pieces.given == 9)
  }

  /// What waits for the disk counts as well.
  @Test func whatIsHeldCounts() {
    let later = Later()
    let outflow = Outflow(later: { later.work.append($0) })
    outflow.add("a")
    var held = 4 << 20
    outflow.held = { _ in held }
    let pieces = Pieces(100)
    outflow.start(for: "a") { pieces.give(into: outflow) }
    #expect(pieces.given == 0)
    held = 1 << 20
    outflow.resumeAll()
    later.run()
    #expect(pieces.given == 3)
  }

  /// Others have their turn between the pieces of a client that reads as fast as it is written to, and so have its own other streams.
  @Test func nobodyWaitsForTheEnd() {
    let later = Later()
    let outflow = Outflow(later: { later.work.append($0) })
    outflow.add("a")
    var given = [0, 0]
    let source = { (index: Int) -> Outflow.Source in
      return {
        guard given[index] < 1000 else { return false }
        given[index] += 1
        // Gone at once, within the source.
        _ = outflow.queued(100, for: "a")
        outflow.sent(100, to: "a")
        return true
      }
    }
    outflow.start(for: "a", source(0))
    #expect(given == [Outflow.turn, 0])
    outflow.start(for: "a", source(1))
    later.run()
    #expect(given[0] < 1000 && given[1] > 0, "\(given)")
    for _ in 0..<10 { later.run() }
    #expect(given == [1000, 1000] && later.work.isEmpty)
  }
}
