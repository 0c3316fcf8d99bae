// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob
public import FluxWire

/// Services that this side of the connection offers to everybody at the instance (RFC 3: `service.add`).
extension FluxConnection {
  /// Offers a service: requests for `NAME.method` come here from now on.
  ///
  /// - Returns: the requests; at most 4096 wait for their consumer, one more is answered with EAGAIN. The stream ends with the connection.
  /// - Throws: ``FluxWire/RPCError``, with EEXIST when the name is taken.
  public func serve(_ name: String) async throws -> AsyncStream<Message> {
    let (stream, continuation) = AsyncStream<Message>.makeStream(bufferingPolicy: .bufferingOldest(4096))
    addService(name, continuation)
    do { try await rpc("service.add", ["service": .string(name)]) } catch {
      removeService(name)
      throw error
    }
    return stream
  }

  /// Offers a service no more. Requests that were not taken yet are answered with ENOSYS.
  public func withdraw(_ name: String) {
    removeService(name)
    notify("service.remove", ["service": .string(name)])
  }

  /// Answers a request of a service: the only response, or one of a stream's.
  public func respond(to request: Message, _ payload: JSON? = nil) {
    guard !request.options.contains(.noResponse) else { return }
    post(.response(to: request, payload: payload.map(Message.payload(of:))))
  }

  /// Answers a request of a service with an error; ends a stream (ENODATA is its normal end).
  ///
  /// - Parameter text: words for people; nil leaves them to the errnum.
  public func respond(to request: Message, errnum: UInt32, text: String? = nil) {
    guard !request.options.contains(.noResponse) else { return }
    post(.response(to: request, errnum: errnum, payload: text.map(Message.payload(text:))))
  }
}
