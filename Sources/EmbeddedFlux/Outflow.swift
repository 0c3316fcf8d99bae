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

  private struct Client {
    var bytes = 0
    var sources: [Source] = []
    var isBusy = false
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
    clients[client]?.bytes += bytes
    return clients[client]?.bytes ?? 0
  }

  /// So many are gone.
  func sent(_ bytes: Int, to client: String) {
    clients[client]?.bytes -= bytes
    resume(client)
  }

  /// Begins to ask a source, at once.
  func start(for client: String, _ source: @escaping Source) {
    guard clients[client] != nil else { return }
    clients[client]?.sources.append(source)
    resume(client)
  }

  /// Nothing is held any more that was.
  func resumeAll() { for (name, client) in clients where !client.sources.isEmpty { resume(name) } }

  /// Whether little is on its way to a client.
  func hasRoom(_ client: String) -> Bool { (clients[client]?.bytes ?? .max) + held(client) < Self.watermark }

  private func resume(_ client: String) {
    // What a source sends may be gone at once, and would ask for the next piece within this one.
    guard clients[client]?.isBusy == false, clients[client]?.sources.isEmpty == false else { return }
    clients[client]?.isBusy = true
    for _ in 0..<Self.turn {
      guard hasRoom(client), let source = clients[client]?.sources.first else { break }
      clients[client]?.sources.removeFirst()
      // The streams of a client take turns.
      if source() { clients[client]?.sources.append(source) }
    }
    clients[client]?.isBusy = false
    guard hasRoom(client), clients[client]?.sources.isEmpty == false else { return }
    later { [weak self] in self?.resume(client) }
  }
}
