// SPDX-License-Identifier: LGPL-3.0-only

/// The client's half of RFC 6: which request a response belongs to, and when a stream has ended.
///
/// A value: requests and messages go in, what to do with them comes out. `Handle` is whatever the shell has to wake up.
/// Three kinds of unexpected message are told apart: our own bug traps nothing but is named in `.ignore`; a peer's fault is
/// `.ignore` too, since one stray response must not cost the other requests their connection; and a response to a request
/// that was given up is a legitimate race and is dropped in silence.
public struct RPCClient<Handle> {
  /// What to do about a message.
  public enum Action {
    /// A single response has come: give it to the waiter, which is then done.
    case resume(Handle, Message)
    /// A stream's next response.
    case yield(Handle, Message)
    /// A stream has ended: errnum 61 (ENODATA) is its normal end, everything else an error.
    case finish(Handle, Message)
    /// An event has come.
    case event(Message)
    /// A request has come, for a service that this client registered.
    case request(Message)
    /// Nothing to do.
    case ignore(reason: String?)
  }

  private enum Pending {
    case single(Handle)
    case stream(Handle)
    case abandoned
  }

  /// The most requests that may be under way on one connection.
  public static var maximumPending: Int { 1 << 20 }

  private var pending: [UInt32: Pending] = [:]
  private var lastTag: UInt32 = 0

  /// Nothing is under way.
  public init() {}

  /// How many requests wait for a response, given-up ones included.
  public var count: Int { pending.count }

  /// Notes a new request.
  ///
  /// - Returns: its match tag, or nil when too many are under way.
  public mutating func begin(streaming: Bool, _ handle: Handle) -> UInt32? {
    guard pending.count < Self.maximumPending else { return nil }
    repeat { lastTag = lastTag == .max ? 1 : lastTag + 1 } while pending[lastTag] != nil
    pending[lastTag] = streaming ? .stream(handle) : .single(handle)
    return lastTag
  }

  /// The waiter has gone. Its tag stays taken until the peer's last response, so that it cannot be confused with another's.
  ///
  /// - Returns: the handle when the request was still under way.
  public mutating func abandon(_ tag: UInt32) -> Handle? {
    switch pending[tag] {
    case .single(let handle), .stream(let handle):
      pending[tag] = .abandoned
      return handle
    case .abandoned, nil: return nil
    }
  }

  /// A message has come from the peer.
  public mutating func receive(_ message: Message) -> Action {
    switch message.kind {
    case .event: return .event(message)
    case .request: return .request(message)
    case .control: return .ignore(reason: "a control message on a client connection")
    case .response: break
    }
    guard let entry = pending[message.matchTag] else {
      return .ignore(reason: "a response with tag \(message.matchTag), which no request has")
    }
    let isLast = message.detail != 0 || !message.options.contains(.streaming)
    switch entry {
    case .single(let handle):
      pending[message.matchTag] = isLast ? nil : .abandoned
      return .resume(handle, message)
    case .stream(let handle):
      guard isLast else { return .yield(handle, message) }
      pending[message.matchTag] = nil
      return .finish(handle, message)
    case .abandoned:
      if isLast { pending[message.matchTag] = nil }
      return .ignore(reason: nil)
    }
  }

  /// The connection has ended.
  ///
  /// - Returns: everybody who still waits.
  public mutating func close() -> [Handle] {
    let handles = pending.values.compactMap { entry -> Handle? in
      switch entry {
      case .single(let handle), .stream(let handle): handle
      case .abandoned: nil
      }
    }
    pending.removeAll()
    return handles
  }
}
