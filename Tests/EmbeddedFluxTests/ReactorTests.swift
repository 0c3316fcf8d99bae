// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import EmbeddedFlux

/// Descriptors that come and go: their numbers are used again at once.
@Suite struct ReactorTests {
  /// Who drops a pipe that has ended, and does not know that yet, drops nothing of anybody else.
  @Test func aNumberIsNotUsedAgainBeforeItsOwnerKnows() async throws {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let reactor = try ProcessReactor(loop)
    try await loop.submit {
      for _ in 0..<200 {
        let first = try Pipe()
        let ended = Mutex(false)
        reactor.watch(pipe: first.read) { _ in ended.withLock { $0 = true } }
        close(first.write)
        // The reactor's thread sees the end meanwhile; this loop is busy, and cannot be told.
        usleep(500)
        let second = try Pipe()
        #expect(second.read != first.read && second.write != first.read && !ended.withLock { $0 })
        reactor.drop(pipe: first.read)
        close(second.read)
        close(second.write)
      }
    }.get()
    try await reactor.stop()
  }
}
