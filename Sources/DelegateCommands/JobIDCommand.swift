// SPDX-License-Identifier: LGPL-3.0-only

import ArgumentParser
import FluxJob
import Glibc

/// `job id`: converts job ids from any of their forms to another.
struct JobIDCommand: ContextCommand {
  static let verb = "job id"
  static let configuration = CommandConfiguration(
    commandName: "id", abstract: "Convert job ids; reads them from standard input when none is given.")

  @Option(
    name: [.customShort("t", allowingJoined: true), .long], help: "dec, hex, dothex, kvs, f58, f58plain or words.")
  var to = "dec"

  @Argument(help: "Job ids.")
  var ids: [String] = []

  func execute(in context: CommandContext) async throws -> Int32 {
    guard var encoding = JobID.Encoding(rawValue: to) else {
      throw CommandFailure(
        "Unknown to=\(to); the forms are \(JobID.Encoding.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    if encoding == .f58, !context.printsUnicode { encoding = .f58plain }
    var words = ids
    if ids.isEmpty {
      let bytes = try FileContents.read(context.input, label: "standard input")
      words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map { line in
        String(line.split(whereSeparator: \.isWhitespace).joined(separator: " "))
      }
    }
    for word in words {
      guard let id = try? JobID(parsing: word) else { throw CommandFailure("\(word): malformed input") }
      context.output.print(id.encoded(encoding))
    }
    // Flux exits with -1 when there was nothing to convert.
    return words.isEmpty ? 255 : 0
  }
}
