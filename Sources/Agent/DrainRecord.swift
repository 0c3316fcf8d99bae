// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire
import Targets

/// Which targets were drained by hand: a key of the origin's KVS, so that the next agent knows, and an origin that is started again with its state.
actor DrainRecord {
  private static let key = "delegate.drain"
  /// The most targets that can be drained by hand.
  private static let maximum = TargetList.maximumTargets

  private let origin: FluxConnection
  private let writer: KVSWriter
  private let governor: TargetGovernor
  private let log: OriginLog
  /// One change at a time: each is made to what the one before has written.
  private let turn = Gate(1)

  init(_ origin: FluxConnection, _ writer: KVSWriter, _ governor: TargetGovernor, _ log: OriginLog) {
    self.log = log
    self.origin = origin
    self.writer = writer
    self.governor = governor
  }

  /// Reads what earlier agents have written. What cannot be read drains nothing.
  func load() async throws {
    do { try await read() } catch let error as ConnectionError { throw error } catch {
      log.error("the KVS key \(Self.key) cannot be read, so no target is drained by hand: drain them again: \(error)")
    }
  }

  private func read() async throws {
    let found: JSON
    do {
      found = try await origin.rpc("kvs.lookup", ["namespace": "primary", "key": .string(Self.key), "flags": 0])
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue { return }
    let bytes = try Base64.decode(found["val"]?["data"]?.stringValue ?? "")
    var drained: [FluxURI: TargetAdmission.Drain] = [:]
    for (text, value) in try JSON(parsing: String(decoding: bytes, as: UTF8.self)).objectValue ?? [:] {
      guard let uri = try? FluxURI(parsing: text) else { continue }
      drained[uri] = TargetAdmission.Drain(
        reason: value["reason"]?.stringValue ?? "", since: value["timestamp"]?.doubleValue)
    }
    governor.drain(drained)
  }

  /// Drains a target; it counts when it is on record.
  func add(_ uri: FluxURI, _ drain: TargetAdmission.Drain) async throws {
    try await turn.run { try await self.put(uri, drain) }
  }

  private func put(_ uri: FluxURI, _ drain: TargetAdmission.Drain) async throws {
    var drained = governor.drained
    guard drained.count < Self.maximum || drained[uri] != nil else { throw RequestError.tooManyDrained(Self.maximum) }
    drained[uri] = drain
    try await write(drained)
    governor.drain(drained)
  }

  /// Undrains a target, and ends its pause.
  func remove(_ uri: FluxURI) async throws {
    try await turn.run { try await self.drop(uri) }
  }

  private func drop(_ uri: FluxURI) async throws {
    var drained = governor.drained
    if drained.removeValue(forKey: uri) != nil { try await write(drained) }
    governor.undrain(uri)
  }

  private func write(_ drained: [FluxURI: TargetAdmission.Drain]) async throws {
    var object: JSONObject = [:]
    for (uri, drain) in drained {
      object[uri.description] = ["reason": .string(drain.reason), "timestamp": .double(drain.since ?? 0)]
    }
    try await writer.put(Self.key, JSON.object(object).text)
  }
}
