// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Foundation
import Testing

/// What was submitted arrives, but for what the configuration changes; and the files of its output are at home.
@Suite(.serialized) struct ArrivalTests {
  @Test(arguments: Host.available) func environmentDirectoryAndAttributes(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let ran = try await a(
        "run", "-S", "system.delegate=bee", "--env=FD_A=one", "--cwd=/usr", "-S", "user.mine=x", "sh", "-c",
        "echo $FD_A; pwd")
      #expect(ran.out == "one\n/usr\n", "\(ran)")
      let id = try await b("jobs", "-a", "-n", "-c1", "-o", "{id.f58}")
      let jobspec = try await b("job", "info", id.out.trimmed, "jobspec")
      #expect(jobspec.out.contains("\"mine\""), "\(jobspec)")
      #expect(!jobspec.out.contains("\"dependencies\""), "\(jobspec)")
    }
  }

  /// The rules of a target's entry: variables are set and dropped, a bank is set.
  @Test(arguments: Host.available) func rules(_ host: Host) async throws {
    try await withPair(host) { a, b in
      try await load(
        a,
        """
        {"delegate":[{"uri":"\(b.uri)","label":"bee","bank":"guests","environment":{"FD_NEW":"set","FD_OLD":false}}]}
        """)
      let ran = try await a(
        "run", "-S", "system.delegate=bee", "--env=FD_OLD=x", "sh", "-c", "echo $FD_NEW ${FD_OLD-dropped}")
      #expect(ran.out == "set dropped\n", "\(ran)")
      let id = try await b("jobs", "-a", "-n", "-c1", "-o", "{id.f58}")
      let jobspec = try await b("job", "info", id.out.trimmed, "jobspec")
      #expect(jobspec.out.contains("\"guests\""), "\(jobspec)")
    }
  }

  /// A queue of home's that the target does not have is left out; a rule renames it.
  @Test(arguments: Host.available) func queues(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let home = #""queues":{"debug":{},"batch":{}}"#
      try await load(a, #"{"delegate":[{"uri":"\#(b.uri)","label":"bee"}],\#(home)}"#)
      let dropped = try await a("run", "--queue=debug", "-S", "system.delegate=bee", "true")
      #expect(dropped.code == 0, "\(dropped)")
      try await load(b, #"{"queues":{"pdebug":{}}}"#)
      try await load(a, #"{"delegate":[{"uri":"\#(b.uri)","label":"bee","queue":{"debug":"pdebug"}}],\#(home)}"#)
      let submitted = try await a("submit", "--queue=debug", "-S", "system.delegate=bee", "true")
      _ = try await a("job", "wait-event", "-t", "120", submitted.out.trimmed, "delegate::submit")
      let there = try await b("jobs", "-a", "-n", "-c1", "-o", "{queue}")
      #expect(there.out.trimmed == "pdebug", "\(there)")
    }
  }

  /// The same files with the same contents as at home, and in the log where they are.
  @Test(arguments: Host.available) func outputFiles(_ host: Host) async throws {
    try await withPair(host) { a, _ in
      let directory = FileManager.default.temporaryDirectory.appending(path: "fd-files-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: directory) }
      func submit(_ words: String...) async throws -> String {
        let words = [a.host.program, "submit", "-S", "system.delegate=bee", "--cwd=\(directory.path)"] + words
        let id = try await run(words, uri: a.uri).out.trimmed
        _ = try await eventlog(a, id)
        return id
      }
      func contents(_ name: String) -> String? {
        try? String(contentsOf: directory.appending(path: name), encoding: .utf8)
      }
      let id = try await submit("--output=a.{{id}}", "sh", "-c", "echo x; sleep 0.1; echo y >&2")
      #expect(contents("a.\(id)") == "x\ny\n")
      let log = try await a("job", "eventlog", "-p", "output", id)
      #expect(log.out.contains("redirect stream=\"stdout\" rank=\"0\" path=\"a.\(id)\""), "\(log)")
      _ = try await submit("-n2", "-l", "--output=b.{{taskid}}", "--error=c", "sh", "-c", "printf tail; echo e >&2")
      #expect(contents("b.0") == "0: tail" && contents("b.1") == "1: tail")
      #expect(contents("c").map { $0.split(separator: "\n").sorted() } == ["0: e", "1: e"])
      _ = try await submit("--output=limited", "-o", "output.limit=10", "echo", "more than ten bytes")
      #expect(contents("limited") == "more than ten bytes\n")
      _ = try await submit("--output=a.{{id}}", "-o", "output.mode=append", "true")
      let missing = try await submit("--output=/nonexistent/x", "true")
      let failed = try await a("job", "eventlog", missing)
      #expect(failed.out.contains("open: /nonexistent/x: No such file or directory"), "\(failed)")
    }
  }

  /// The mark in the remote job has the time of the origin's event `submit`: another agent finds it by that.
  @Test(arguments: Host.available) func theMark(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let id = try await a("submit", "-S", "system.delegate=bee", "true").out.trimmed
      let log = try await eventlog(a, id)
      let submitted = try #require(try Eventlog(parsing: try await raw(a, id)).entries.first?.timestamp)
      let remote = try await b("job", "info", try await b("job", "last").out.trimmed, "jobspec")
      let mark = try JSON(parsing: remote.out).value(at: "attributes.user.delegate")
      #expect(mark?["submitted"]?.doubleValue == submitted, "\(remote) \(log)")
      #expect(mark?["attempt"] == 1)
    }
  }

  private func raw(_ instance: Instance, _ id: String) async throws -> String {
    try await instance("job", "info", id, "eventlog").out.trimmed + "\n"
  }

  /// Its output goes to FIFOs that nobody reads: no other job's files are held up.
  @Test(arguments: Host.available) func outputToAFIFO(_ host: Host) async throws {
    try await withPair(host) { a, b in
      let directory = FileManager.default.temporaryDirectory.appending(path: "fd-fifo-\(UUID().uuidString)")
      try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(at: directory) }
      var waiting: [String] = []
      for number in 0..<12 {
        let fifo = directory.appending(path: "fifo\(number)").path
        #expect(mkfifo(fifo, 0o600) == 0)
        waiting.append(
          try await a("submit", "-S", "system.delegate=bee", "--output=\(fifo)", "echo", "\(number)").out.trimmed)
      }
      let file = directory.appending(path: "file").path
      let other = try await a("submit", "-S", "system.delegate=bee", "--output=\(file)", "echo", "file").out.trimmed
      let log = try await eventlog(a, other)
      #expect(log.out.contains(" clean"), "\(log)")
      for (number, id) in waiting.enumerated() {
        let read = try await run(["cat", directory.appending(path: "fifo\(number)").path])
        #expect(read.out == "\(number)\n", "\(read)")
        let log = try await eventlog(a, id)
        #expect(log.out.contains(" clean"), "\(log)")
      }
    }
  }
}
