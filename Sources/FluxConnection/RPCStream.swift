// SPDX-License-Identifier: LGPL-3.0-only

public import FluxWire
import NIOCore

/// The responses of a streaming RPC (RFC 6), in order.
///
/// Ends without error at ENODATA, Flux's normal end of a stream; every other errnum is thrown as ``FluxWire/RPCError``, the loss
/// of the connection as ``ConnectionError``. When its one iterator goes away the service is told to stop, where it has a way.
public struct RPCStream: AsyncSequence, Sendable {
  /// A response.
  public typealias Element = Message

  /// What happens when the consumer is slower than the peer.
  public enum Buffering: Hashable, Sendable {
    /// Keep up to so many responses, of so many bytes together, then fail the stream with ``ConnectionError`` `limit`.
    case bounded(Int, bytes: Int = .max)
    /// Stop reading from the connection while more than so many responses wait, or more bytes. Every other request on the connection
    /// waits as well: only for a connection whose consumer awaits nothing else on it.
    case pausing(Int, bytes: Int = .max)

    var limit: (count: Int, bytes: Int) {
      switch self {
      case .bounded(let count, let bytes), .pausing(let count, let bytes): (count, bytes)
      }
    }
  }

  private let base: AsyncThrowingStream<Message, any Error>
  private let consumed: @Sendable (Message) -> Void

  init(base: AsyncThrowingStream<Message, any Error>, consumed: @escaping @Sendable (Message) -> Void) {
    self.base = base
    self.consumed = consumed
  }

  /// The one iterator.
  public struct AsyncIterator: AsyncIteratorProtocol {
    var base: AsyncThrowingStream<Message, any Error>.AsyncIterator
    let consumed: @Sendable (Message) -> Void

    /// The next response, or nil at the stream's normal end.
    public mutating func next() async throws -> Message? {
      guard let message = try await base.next() else { return nil }
      consumed(message)
      return message
    }
  }

  /// Starts to consume. May be called once.
  public func makeAsyncIterator() -> AsyncIterator {
    AsyncIterator(base: base.makeAsyncIterator(), consumed: consumed)
  }
}

extension RPCStream {
  /// The connection's end of a stream; lives on the connection's event loop, but for the count of what waits.
  final class Source {
    private let continuation: AsyncThrowingStream<Message, any Error>.Continuation
    private let buffering: Buffering
    private let waiting: Waiting
    private unowned let handler: ConnectionHandler

    init(
      _ continuation: AsyncThrowingStream<Message, any Error>.Continuation, buffering: Buffering, waiting: Waiting,
      handler: ConnectionHandler
    ) {
      self.continuation = continuation
      self.buffering = buffering
      self.waiting = waiting
      self.handler = handler
    }

    func yield(_ message: Message) {
      let isTooMuch = waiting.add(message.payload?.readableBytes ?? 0)
      switch buffering {
      case .bounded(let count, let bytes) where isTooMuch:
        let size = bytes == .max ? "" : ", or \(bytes >> 20) MiB,"
        finish(
          ConnectionError(
            .limit, "more than \(count) responses\(size) of \(message.topic ?? "a stream") wait to be read"))
      case .pausing where isTooMuch:
        if waiting.pause() { handler.pauseReading() }
        continuation.yield(message)
      default: continuation.yield(message)
      }
    }

    func finish(with message: Message) {
      guard let error = RPCError(message), error.errnum != Errnum.noData.rawValue else {
        if message.detail == 0 { continuation.yield(message) }
        return continuation.finish()
      }
      continuation.finish(throwing: error)
    }

    func finish(_ error: any Error) { continuation.finish(throwing: error) }
  }
}
