// SPDX-License-Identifier: LGPL-3.0-only

/// What is still to happen, by time, and of the same time in the order in which it was planned.
struct EventQueue {
  typealias Work = () -> Void

  private struct Item {
    var time: Double
    var number: Int
    var label: String
    var work: Work

    func comes(before other: Item) -> Bool { time < other.time || (time == other.time && number < other.number) }
  }

  private var heap: [Item] = []
  private var planned = 0

  var isEmpty: Bool { heap.isEmpty }

  /// When the next one happens.
  var nextTime: Double? { heap.first?.time }

  mutating func add(at time: Double, _ label: String, _ work: @escaping Work) {
    planned += 1
    heap.append(Item(time: time, number: planned, label: label, work: work))
    var child = heap.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard heap[child].comes(before: heap[parent]) else { break }
      heap.swapAt(child, parent)
      child = parent
    }
  }

  mutating func next() -> (time: Double, label: String, work: Work)? {
    guard let first = heap.first, let last = heap.popLast() else { return nil }
    if !heap.isEmpty {
      heap[0] = last
      sink()
    }
    return (first.time, first.label, first.work)
  }

  private mutating func sink() {
    var parent = 0
    while true {
      let left = 2 * parent + 1
      guard left < heap.count else { return }
      let right = left + 1
      let least = right < heap.count && heap[right].comes(before: heap[left]) ? right : left
      guard heap[least].comes(before: heap[parent]) else { return }
      heap.swapAt(least, parent)
      parent = least
    }
  }
}
