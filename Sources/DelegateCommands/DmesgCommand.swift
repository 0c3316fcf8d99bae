// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import FluxWire

/// `flux-delegate dmesg`: the instance's log.
struct DmesgCommand: ContextCommand {
  static let configuration = CommandConfiguration(commandName: "dmesg", abstract: "Show the instance's log")

  @Flag(name: [.customShort("f"), .long], help: "Go on with new lines as they come.")
  var follow = false

  @OptionGroup var connection: ConnectionOptions

  func execute(in context: CommandContext) async throws -> Int32 {
    let follows = follow
    try await context.withConnection(connection) { instance in
      let request: JSON = ["follow": .bool(follows), "nobacklog": false]
      for try await line in await instance.stream("log.dmesg", request, cancelTopic: "log.cancel") {
        context.output.print(LogLine(line.text ?? "").text)
      }
    }
    return 0
  }
}

/// A line of Flux's log: RFC 5424, with the severity in the upper bits of the priority.
struct LogLine {
  private static let severities = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]
  /// As `flux dmesg` shows it: `TIME APP.SEVERITY[RANK]: MESSAGE`.
  let text: String

  /// Takes a line apart; one of another form is shown as it is.
  init(_ line: String) {
    let parts = line.split(separator: " ", maxSplits: 7, omittingEmptySubsequences: false)
    guard parts.count == 8, parts[0].first == "<", let end = parts[0].firstIndex(of: ">"),
      let priority = Int(parts[0][parts[0].index(after: parts[0].startIndex)..<end])
    else {
      text = line
      return
    }
    let severity = Self.severities[(priority >> 3) & 7]
    text = "\(parts[1]) \(parts[3]).\(severity)[\(parts[2])]: \(parts[7])"
  }
}
