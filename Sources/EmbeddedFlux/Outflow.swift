// SPDX-License-Identifier: LGPL-3.0-only

/// What is on its way to each client, and what waits until there is less of it: long streams are made as fast as they are read.
///
/// A log of a job, or a listing, may have hundreds of megabytes. Written at once they would all be in memory, and a client that is slow would be cut off
/// for what it has not asked for. So a stream that has much to tell is a source that is asked for a piece at a time.
final class Outflow {
  /// Gives the next piece of a stream, that is, sends it. Returns whether there may be more.
  typealias Source = () -> Bool

  /// While less than this, in bytes, is on its way to a client, its sources are asked for more.
  static let watermark = 4 << 20
  /// How many pieces are given in one go. Others have their turn then.
  static let turn = 256

  private final class Client {
    var bytes = 0
    var sources: [Source] = []
    /// Which source has its turn.
    var next = 0
    var isBusy = false
    /// Whether it will be looked at again.
    var isDue = false
  }

  private var clients: [String: Client] = [:]
  private let later: (@escaping () -> Void) -> Void
  /// How many bytes for a client wait for something else.
  var held: (String) -> Int = { _ in 0 }

  /// - Parameter later: runs something after what is under way.
  init(later: @escaping (@escaping () -> Void) -> Void) { self.later = later }

  func add(_ client: String) { clients[client] = Client() }

  func remove(_ client: String) { clients[client] = nil }

  /// So many bytes more are on their way.
  ///
  /// - Returns: how many there are.
  func queued(_ bytes: Int, for client: String) -> Int {
    guard let client = clients[client] else { return 0 }
    client.bytes += bytes
    return client.bytes
  }

  /// So many are gone.
  ///
  /// That is told from within the write, or when the connection ends: nothing more is sent before whoever is writing has done what it does.
  func sent(_ bytes: Int, to client: String) {
    clients[client]?.bytes -= bytes
    resumeLater(client)
  }

  /// Begins to ask a source, at once.
  func start(for client: String, _ source: @escaping Source) {
    guard let known = clients[client] else { return }
    known.sources.append(source)
    resume(client)
  }

  /// Nothing is held any more that was.
  func resumeAll() { for (name, client) in clients where !client.sources.isEmpty { resumeLater(name) } }

  /// Whether nothing is on its way to anybody.
  var isIdle: Bool { clients.values.allSatisfy { $0.bytes == 0 && $0.sources.isEmpty } }

  /// Whether little is on its way to a client.
  func hasRoom(_ client: String) -> Bool { clients[client].map { hasRoom($0, client) } ?? false }

  private func hasRoom(_ client: Client, _ name: String) -> Bool { client.bytes + held(name) < Self.watermark }

  private func resumeLater(_ name: String) {
    guard let client = clients[name], !client.isDue, !client.sources.isEmpty else { return }
    client.isDue = true
    later { [weak self] in
      client.isDue = false
      self?.resume(name)
    }
  }

  private func resume(_ name: String) {
    guard let client = clients[name], !client.isBusy else { return }
    client.isBusy = true
    for _ in 0..<Self.turn {
      guard !client.sources.isEmpty, hasRoom(client, name), clients[name] === client else { break }
      // The streams of a client take turns.
      let index = client.next < client.sources.count ? client.next : 0
      if client.sources[index]() {
        client.next = index + 1
      } else {
        client.sources.swapAt(index, client.sources.count - 1)
        client.sources.removeLast()
        client.next = index
      }
    }
    client.isBusy = false
    if hasRoom(client, name) { resumeLater(name) }
  }
}
