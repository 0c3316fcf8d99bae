// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob

/// Gathers the evidence when everything is over.
struct Collector {
  let stage: Stage
  /// How many jobs are read at once.
  private static let width = 16

  private struct Record: Sendable {
    var id: JobID
    var name: String
    var reason: String?
    var events: [EventlogEntry]
    var output: [EventlogEntry]?
    var execution: [EventlogEntry]?
    var mark: Mark?
  }

  /// The evidence of each job that was submitted, or may have been.
  func evidence() async throws -> [Evidence] {
    let marks = Dictionary(
      grouping: ProcessTable.contents(stage.marks).split(separator: "\n").map(String.init), by: { $0 })
    let here = Dictionary(
      try await records(of: stage.origin, areCopies: false).map { ($0.name, $0) },
      uniquingKeysWith: { first, _ in first })
    var copies: [JobID: [Evidence.Copy]] = [:]
    for target in stage.targets {
      for record in try await records(of: target.keeper, areCopies: true) {
        guard let mark = record.mark else { continue }
        copies[mark.id, default: []].append(
          Evidence.Copy(
            target: target.place.label, id: record.id, events: record.events, output: record.output?.text() ?? ""))
      }
    }
    let kills = await stage.chronicle.kills
    let troubles = await stage.chronicle.troubles
    return await stage.ledger.entries.map { entry in
      let record = here[entry.plan.name]
      return Evidence(
        plan: entry.plan, id: record?.id, isAccepted: entry.id != nil, marks: marks[entry.plan.name]?.count ?? 0,
        events: record?.events ?? [], output: record?.output, execution: record?.execution, reason: record?.reason,
        copies: record.map { copies[$0.id] ?? [] } ?? [], kills: kills, troubles: troubles)
    }
  }

  private func records(of keeper: Keeper, areCopies: Bool) async throws -> [Record] {
    try await keeper.asker.withConnection { connection in
      var rest = try await Asker.jobs(connection, areActive: false, ["name", "annotations"])[...]
      var records: [Record] = []
      while !rest.isEmpty {
        let portion = rest.prefix(Self.width)
        rest = rest.dropFirst(portion.count)
        records += try await withThrowingTaskGroup(of: Record.self) { group in
          for (id, listed) in portion {
            group.addTask { try await Self.record(connection, id, listed, isCopy: areCopies) }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
      }
      return records
    }
  }

  private static func record(
    _ connection: FluxConnection, _ id: JobID, _ listed: JSON, isCopy: Bool
  ) async throws -> Record {
    let delegate = listed["annotations"]?["user"]?["delegate"]
    var record = Record(
      id: id, name: listed["name"]?.stringValue ?? "", reason: delegate?["unknown"]?.stringValue,
      events: try await Asker.log(connection, id, "eventlog") ?? [],
      output: try await Asker.log(connection, id, "guest.output"))
    guard isCopy else {
      record.execution = try await Asker.log(connection, id, "guest.exec.eventlog")
      return record
    }
    let jobspec = try await Asker.document(connection, id, "jobspec")
    record.mark = jobspec.flatMap { try? JSON(parsing: $0) }.flatMap { Mark(jobspec: $0) }
    return record
  }
}
