// SPDX-License-Identifier: LGPL-3.0-only

/// Keeps owners from submitting while the origin has no plugin: without it a job that asks for a target would run at home.
actor Gate {
  private var isClosed = false
  private var inside = 0
  private var waiting: [CheckedContinuation<Void, Never>] = []
  private var drain: CheckedContinuation<Void, Never>?

  func pass<Result: Sendable>(_ body: @Sendable () async -> Result) async -> Result {
    while isClosed { await withCheckedContinuation { waiting.append($0) } }
    inside += 1
    let result = await body()
    inside -= 1
    if inside == 0 {
      drain?.resume()
      drain = nil
    }
    return result
  }

  /// - Returns: false when somebody else has closed it.
  func close() -> Bool {
    if isClosed { return false }
    isClosed = true
    return true
  }

  /// Returns when nobody is inside any more.
  func waitUntilEmpty() async {
    guard inside > 0 else { return }
    await withCheckedContinuation { drain = $0 }
  }

  func open() {
    isClosed = false
    for continuation in waiting { continuation.resume() }
    waiting = []
  }
}
