// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob
import Foundation
import Testing

@testable import Agent

/// What of a remote job's output is written to its owner's files.
@Suite struct OutputWriterTests {
  private static func files(_ path: String, in directory: String) throws -> OutputFiles {
    var jobspec = try Jobspec(Jobspec.Request(command: ["true"], cwd: directory))
    jobspec.set(attribute: "system.shell.options.output.stdout.path", to: .string(path))
    return try #require(OutputFiles(jobspec, id: JobID(rawValue: 7)))
  }

  private static func entry(_ rank: String, _ data: String) -> EventlogEntry {
    EventlogEntry(
      timestamp: 1, name: "data", context: ["stream": "stdout", "rank": .string(rank), "data": .string(data)])
  }

  private static func withDirectory(_ body: (String) async throws -> Void) async throws {
    let path = NSTemporaryDirectory() + "fd-output-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path + "/logs", withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try await body(path)
  }

  /// The target says which task has written something: it does not say where at home that goes.
  @Test func aTaskThatIsNoneHasNoFile() async throws {
    try await Self.withDirectory { directory in
      let writer = OutputWriter(try Self.files("logs/{{taskid}}", in: directory), isNew: true, offsets: [:])
      #expect(try await writer.write(Self.entry("0", "mine\n")))
      for rank in ["../elsewhere", "1", "", "/etc/x"] {
        #expect(try await !writer.write(Self.entry(rank, "not mine\n")), "\(rank)")
      }
      await writer.close()
      #expect(try FileManager.default.subpathsOfDirectory(atPath: directory).sorted() == ["logs", "logs/0"])
      #expect(try String(contentsOfFile: directory + "/logs/0", encoding: .utf8) == "mine\n")
    }
  }
}
