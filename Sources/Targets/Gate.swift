// SPDX-License-Identifier: LGPL-3.0-only

/// Lets so many through at once; the others wait in the order of their coming.
public actor Gate {
  private var free: Int
  private var waiting: [CheckedContinuation<Void, Never>] = []
  private var first = 0

  /// A gate for `width` at once.
  public init(_ width: Int) { free = width }

  /// Runs `work` when it is its turn.
  public nonisolated func run<Result: Sendable>(_ work: @Sendable () async throws -> Result) async rethrows -> Result {
    await enter()
    do {
      let result = try await work()
      await leave()
      return result
    } catch {
      await leave()
      throw error
    }
  }

  private func enter() async {
    guard free == 0 else {
      free -= 1
      return
    }
    await withCheckedContinuation { waiting.append($0) }
  }

  private func leave() {
    guard first < waiting.count else {
      free += 1
      return
    }
    waiting[first].resume()
    first += 1
    guard first == waiting.count || first > 1024 else { return }
    waiting.removeFirst(first)
    first = 0
  }
}
