// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob

/// Writes values to an instance's primary KVS namespace. What is to be written while a commit is under way goes into the next one together: a
/// single value waits for nothing, and many cost few commits.
actor KVSWriter {
  /// The most values of one commit.
  private static let maximumValues = 512
  /// The most bytes of one commit, unless a single value has more.
  private static let maximumBytes = 1 << 20

  private struct Value {
    var operation: JSON
    /// How many bytes it adds to a commit.
    var size: Int
    var continuation: CheckedContinuation<Void, any Error>
  }

  private let instance: FluxConnection
  private var waiting: [Value] = []
  /// How many values wait.
  var count: Int { waiting.count }
  private var isStopped = false
  private let wakes: AsyncStream<Void>
  private let wake: AsyncStream<Void>.Continuation

  init(_ instance: FluxConnection) {
    self.instance = instance
    (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
  }

  /// Commits until cancelled.
  func run() async {
    for await _ in wakes {
      while !waiting.isEmpty { await commitWaiting() }
    }
    isStopped = true
    for value in waiting { value.continuation.resume(throwing: CancellationError()) }
    waiting = []
  }

  /// Returns when the value is in the KVS.
  ///
  /// - Throws: ``FluxWire/RPCError`` or ``FluxConnection/ConnectionError``: then it may be there or not.
  func put(_ key: String, _ value: String) async throws {
    try await put(key, treeObject: Self.treeObject(value))
  }

  /// A value as a tree object (RFC 11).
  static func treeObject(_ value: String) -> JSON {
    ["ver": 1, "type": "val", "data": .string(Base64.encode(value.utf8))]
  }

  /// The same for any tree object (RFC 11).
  func put(_ key: String, treeObject dirent: JSON) async throws {
    let operation: JSON = ["key": .string(key), "flags": 0, "dirent": dirent]
    guard !isStopped else { throw CancellationError() }
    try await withCheckedThrowingContinuation {
      waiting.append(Value(operation: operation, size: operation.text.utf8.count, continuation: $0))
      wake.yield()
    }
  }

  private func commitWaiting() async {
    var size = 0
    let batch = waiting.prefix(Self.maximumValues).prefix { value in
      size += value.size
      return size <= Self.maximumBytes || size == value.size
    }
    waiting.removeFirst(batch.count)
    do {
      try await commit(batch.map(\.operation))
      for value in batch { value.continuation.resume() }
    } catch {
      // One bad value must not cost the others theirs.
      guard batch.count > 1 else {
        for value in batch { value.continuation.resume(throwing: error) }
        return
      }
      for value in batch {
        do {
          try await commit([value.operation])
          value.continuation.resume()
        } catch { value.continuation.resume(throwing: error) }
      }
    }
  }

  private func commit(_ operations: [JSON]) async throws {
    try await instance.rpc("kvs.commit", ["namespace": "primary", "flags": 0, "ops": .array(operations)])
  }
}
