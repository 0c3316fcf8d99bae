// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import Targets

/// The connections to targets: one a target, opened when a job needs it, shared by all jobs, closed when idle.
actor TargetPool {
  /// The most targets that are connected at once.
  static let maximumTargets = 256
  /// How long a connection may be unused before it is closed.
  static let idleTime = Duration.seconds(300)

  private enum Slot {
    case opening([CheckedContinuation<FluxConnection, any Error>])
    case open(FluxConnection, lastUse: ContinuousClock.Instant)
  }

  private let configuration: FluxConnection.Configuration
  private let probeTimeout: Duration
  private let userID: UInt32
  private let log: OriginLog
  private var slots: [FluxURI: Slot] = [:]
  private let wanted: AsyncStream<FluxURI>
  private let want: AsyncStream<FluxURI>.Continuation

  init(configuration: FluxConnection.Configuration, probeTimeout: Duration, userID: UInt32, log: OriginLog) {
    self.configuration = configuration
    self.probeTimeout = probeTimeout
    self.userID = userID
    self.log = log
    (wanted, want) = AsyncStream.makeStream()
  }

  /// The target at `uri`, once it is connected.
  func target(_ uri: FluxURI) async throws -> FluxTarget { FluxTarget(try await connection(uri), userID: userID) }

  private func connection(_ uri: FluxURI) async throws -> FluxConnection {
    switch slots[uri] {
    case .open(let connection, _) where await connection.isActive:
      slots[uri] = .open(connection, lastUse: .now)
      return connection
    case .opening, .open, nil: break
    }
    // Another caller may have asked meanwhile.
    if case .open = slots[uri] { slots[uri] = nil }
    guard slots[uri] != nil || slots.count < Self.maximumTargets else {
      throw TargetFailure("\(uri): \(Self.maximumTargets) other targets are connected", isTransient: true)
    }
    return try await withCheckedThrowingContinuation { continuation in
      guard case .opening(let waiting) = slots[uri] else {
        slots[uri] = .opening([continuation])
        want.yield(uri)
        return
      }
      slots[uri] = .opening(waiting + [continuation])
    }
  }

  /// Keeps the connections until cancelled.
  func run() async {
    await withDiscardingTaskGroup { group in
      for await uri in wanted { group.addTask { await self.keep(uri) } }
      group.cancelAll()
    }
  }

  private func keep(_ uri: FluxURI) async {
    let log = log
    let probeTimeout = probeTimeout
    do {
      try await FluxConnection.withConnection(to: uri, configuration: configuration, logger: log.logger) { connection in
        try await FluxTarget.probe(connection, within: probeTimeout)
        await self.opened(uri, connection)
        try await withTaskCancellationHandler {
          try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await connection.waitForClose() }
            group.addTask { try await self.closeWhenIdle(uri, connection) }
            defer { connection.cancel() }
            try await group.next()
            group.cancelAll()
          }
        } onCancel: {
          connection.cancel()
        }
      }
      closed(uri, TargetFailure("\(uri): the connection has ended", isTransient: true))
    } catch {
      log.warning("\(FluxTarget.failure(error, uri.description))")
      closed(uri, error)
    }
  }

  private func opened(_ uri: FluxURI, _ connection: FluxConnection) {
    guard case .opening(let waiting) = slots[uri] else { return }
    slots[uri] = .open(connection, lastUse: .now)
    for continuation in waiting { continuation.resume(returning: connection) }
  }

  private func closed(_ uri: FluxURI, _ error: any Error) {
    let slot = slots.removeValue(forKey: uri)
    if case .opening(let waiting) = slot { for continuation in waiting { continuation.resume(throwing: error) } }
  }

  private func closeWhenIdle(_ uri: FluxURI, _ connection: FluxConnection) async throws {
    while true {
      try await Task.sleep(for: Self.idleTime / 5)
      guard case .open(let kept, let lastUse) = slots[uri], kept === connection else { return }
      if lastUse.duration(to: .now) > Self.idleTime { return }
    }
  }
}
