// SPDX-License-Identifier: LGPL-3.0-only

import Delegation

/// Events and actions in a few words, for traces.
enum Words {
  static func of(_ event: DelegatedJob.Event) -> String {
    switch event {
    case .read(let record): "read \(record.eventlog.map(\.name))"
    case .origin(let entry): "origin \(entry.name) \(entry.context.map { "\($0.map(\.value.text))" } ?? "")"
    case .remote(let events): "remote \(events.map(of))"
    default: "\(event)"
    }
  }

  private static func of(_ event: RemoteEvent) -> String {
    if case .started = event { "started" } else { "\(event)" }
  }

  static func of(_ action: DelegatedJob.Action) -> String {
    switch action {
    case .submit(let uri, _): "submit \(uri)"
    case .post(let name, _): "post \(name)"
    case .allocate: "allocate"
    case .choose(_, let tried, _): "choose but \(tried.map(\.description).sorted())"
    case .read: "read"
    case .look(let uri, _): "look \(uri)"
    default: "\(action)"
    }
  }
}
