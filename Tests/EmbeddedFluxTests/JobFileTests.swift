// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc
import Testing

@testable import EmbeddedFlux

/// Jobs that write to files and read from them, and what they find in their environment. As a Flux 0.88 was seen to do.
@Suite struct JobFileTests {
  /// What a job has left behind.
  private struct Outcome {
    var output: [EventlogEntry]
    var status: Int64?
    var note: String?
  }

  private static let script = "echo out $FLUX_TASK_RANK; echo err $FLUX_TASK_RANK >&2; printf part"

  /// Runs a job in a new directory, looks at that, and removes it.
  private static func run(
    _ command: [String], tasks: Int = 1, nodes: Int? = nil, _ options: JSON, files: [String: String] = [:],
    _ check: @Sendable @escaping (String, Outcome) throws -> Void
  ) async throws {
    try await InstanceTests.withInstance { _, connection in
      var template = Array("/tmp/flux-files-XXXXXX".utf8CString)
      try #require(mkdtemp(&template) != nil)
      let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      defer { _ = system("rm -rf \(directory)") }
      for (name, text) in files { try Self.write(text, to: "\(directory)/\(name)") }
      var jobspec = try InstanceTests.jobspec(command, nodes: nodes, tasks: tasks)
      jobspec.set(attribute: "cwd", to: .string(directory))
      jobspec.set(attribute: "shell.options", to: options)
      let id = try await InstanceTests.submit(connection, jobspec)
      let events = try await InstanceTests.events(connection, id)
      let output = try await InstanceTests.events(connection, id, path: "guest.output")
      try check(
        directory,
        Outcome(
          output: output, status: events.first { $0.name == "finish" }?.context?["status"]?.intValue,
          note: events.first { $0.name == "exception" }?.context?["note"]?.stringValue))
    }
  }

  private static func write(_ text: String, to path: String) throws {
    let file = try #require(fopen(path, "w"))
    fputs(text, file)
    fclose(file)
  }

  private static func read(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    let count = fread(&bytes, 1, bytes.count, file)
    return String(decoding: bytes.prefix(count), as: UTF8.self)
  }

  private static func file(_ path: String, label: Bool = false) -> JSON {
    ["type": "file", "path": .string(path), "label": .bool(label)]
  }

  @Test func stderrFollowsStdout() async throws {
    try await Self.run(["sh", "-c", Self.script], ["output": ["stdout": Self.file("o.txt")]]) { directory, outcome in
      let text = try #require(Self.read("\(directory)/o.txt"))
      #expect(text.contains("out 0\n") && text.contains("err 0\n") && text.hasSuffix("part") && text.utf8.count == 16)
      #expect(outcome.output.map(\.name) == ["header", "redirect", "redirect"])
      #expect(
        outcome.output.dropFirst().map(\.context) == [
          ["stream": "stdout", "rank": "0", "path": "o.txt"], ["stream": "stderr", "rank": "0", "path": "o.txt"],
        ])
      #expect(outcome.status == 0)
    }
  }

  @Test func stderrAlone() async throws {
    try await Self.run(["sh", "-c", Self.script], ["output": ["stderr": Self.file("e.txt")]]) { directory, outcome in
      #expect(Self.read("\(directory)/e.txt") == "err 0\n")
      let data = outcome.output.filter { $0.name == "data" }
      #expect(data.allSatisfy { $0.context?["stream"] == "stdout" } && !data.isEmpty)
      #expect(outcome.output.filter { $0.name == "redirect" }.count == 1)
    }
  }

  /// One file a task; the event shows the name with the tags that differ. Lines of standard output are labelled each.
  @Test func aFileForEachTask() async throws {
    let options: JSON = ["output": ["stdout": Self.file("o-{{taskid}}-{{node.id}}-{{name}}", label: true)]]
    try await Self.run(["sh", "-c", "printf a; sleep 0.1; echo b; echo c"], tasks: 2, nodes: 2, options) {
      directory, outcome in
      for rank in 0..<2 { #expect(Self.read("\(directory)/o-\(rank)-\(rank)-sh") == "\(rank): ab\n\(rank): c\n") }
      #expect(outcome.output[1].context?["path"] == "o-{{taskid}}-{{node.id}}-sh")
      #expect(outcome.output[1].context?["rank"] == "[0-1]")
    }
  }

  @Test(arguments: [("truncate", "new\n"), ("append", "old-old-old\nnew\n"), ("foo", "new\nold-old\n")])
  func modes(_ mode: String, _ result: String) async throws {
    let options: JSON = ["output": ["mode": .string(mode), "stdout": Self.file("a.txt")]]
    try await Self.run(["echo", "new"], options, files: ["a.txt": "old-old-old\n"]) { directory, outcome in
      #expect(Self.read("\(directory)/a.txt") == result)
      #expect(outcome.output.contains { $0.name == "log" } == (mode == "foo"))
    }
  }

  @Test func aFileThatCannotBeOpened() async throws {
    let options: JSON = ["output": ["stdout": Self.file("nodir/x")]]
    try await Self.run(["echo", "x"], options) { _, outcome in
      #expect(outcome.note == "shell_init: No such file or directory")
      #expect(outcome.status == 256)
      #expect(outcome.output.map(\.name) == ["log", "log", "log"])
      #expect(outcome.output.first?.context?["message"] == "open: nodir/x: No such file or directory")
    }
  }

  @Test func standardInputFromAFile() async throws {
    let options: JSON = ["input": ["stdin": ["type": "file", "path": "i.txt"]]]
    try await Self.run(["cat"], options, files: ["i.txt": "hello\n"]) { _, outcome in
      #expect(outcome.output.contains { $0.context?["data"] == "hello\n" })
    }
    try await Self.run(["cat"], options) { _, outcome in
      #expect(outcome.note == "error opening input file 'i.txt': No such file or directory")
      #expect(outcome.status == 15)
    }
  }

  @Test func theShellsWordsGoToStandardErrorsFile() async throws {
    try await Self.run(["/nosuch"], ["output": ["stdout": Self.file("o.txt")]]) { directory, outcome in
      let words = "task 0 (host \(InstanceTests.hostOfRank0)): start failed: /nosuch: No such file or directory"
      #expect(outcome.note == words)
      #expect(Self.read("\(directory)/o.txt") == "flux-shell[0]: FATAL: \(words)\n")
      #expect(!outcome.output.contains { $0.name == "log" })
    }
  }

  /// A FIFO that is full holds its writer up, and nobody else; nothing is lost.
  @Test func aSlowReaderOfAFIFO() async throws {
    let script = "mkfifo f; (sleep 0.2; wc -c <f >count) & "
    let options: JSON = ["output": ["stdout": Self.file("f")]]
    try await InstanceTests.withInstance { _, connection in
      var template = Array("/tmp/flux-fifo-XXXXXX".utf8CString)
      try #require(mkdtemp(&template) != nil)
      let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      defer { _ = system("rm -rf \(directory)") }
      var reader = try InstanceTests.jobspec(["sh", "-c", script + "wait"])
      reader.set(attribute: "cwd", to: .string(directory))
      let reading = try await InstanceTests.submit(connection, reader)
      while access("\(directory)/f", F_OK) != 0 { try await Task.sleep(for: .milliseconds(5)) }
      var writer = try InstanceTests.jobspec(["head", "-c", "1000000", "/dev/zero"])
      writer.set(attribute: "cwd", to: .string(directory))
      writer.set(attribute: "shell.options", to: options)
      let writing = try await InstanceTests.submit(connection, writer)
      try await connection.rpc("attr.get", ["name": "size"])
      _ = try await InstanceTests.events(connection, writing)
      _ = try await InstanceTests.events(connection, reading)
      #expect(Self.read("\(directory)/count") == "1000000\n")
    }
  }

  @Test func theEnvironment() async throws {
    let script =
      "echo $FLUX_JOB_ID_PATH $FLUX_KVS_NAMESPACE $FLUX_JOB_TMPDIR; mkdir $FLUX_JOB_TMPDIR/d; touch $FLUX_JOB_TMPDIR/d/f"
    try await InstanceTests.withInstance { _, connection in
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sh", "-c", script]))
      let words = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self).split(separator: " ")
      #expect(words.count == 3)
      #expect(words.first ?? "" == "/\(id)" && words.dropFirst().first ?? "" == "job-\(id.encoded(.dec))")
      let path = String(words.last?.dropLast() ?? "")
      #expect(path.hasSuffix("/jobtmp-0-\(id)"))
      _ = try await InstanceTests.events(connection, id)
      #expect(access(path, F_OK) != 0)
    }
  }

  @Test func templates() throws {
    let jobspec = try InstanceTests.jobspec(["/bin/sh"], nodes: 2, tasks: 4)
    let job = Job(
      id: JobID(rawValue: 3364), userID: 0, urgency: 16, flags: 0, body: JobBody(signed: "", jobspec: jobspec))
    let ranks = (0..<2).map { ResourceSet.Rank(rank: $0 + 5, host: "n\($0)", cores: IDSet(0..<2), gpus: IDSet()) }
    let resources = ResourceSet(ranks: ranks, startTime: 0, expiration: 0, properties: [:])
    let layout = TaskLayout(jobspec, resources)
    let template = JobTemplate(job, layout, resources, directories: ["/d0", "/d1"])
    let cases = [
      "{{id}} {{jobid}} {{id.dec}} {{jobid.hex}} {{id.f58plain}}": "ƒ211 ƒ211 3364 0xd24 f211",
      "{{name}}-{{size}}-{{ntasks}}-{{nnodes}}": "sh-4-4-2",
      "{{taskid}}{{task.rank}}{{task.id}} {{task.index}}{{task.localid}}": "333 11",
      "{{node.id}} {{node.name}} {{node.broker_rank}} {{node.taskids}} {{node.cores}} {{node.ncores}}":
        "1 n1 6 2-3 0-1 2",
      "{{tmpdir}}/script": "/d1/script", "{{nope}}{{id.foo}}{{id.}}{{idx}}{{}}": "{{nope}}{{id.foo}}{{id.}}{{idx}}{{}}",
      "a{{unclosed": "a{{unclosed", "{{{{id}}}}": "{{{{id}}}}",
    ]
    for (text, expected) in cases { #expect(template.render(text, layout.tasks[3], upTo: 1000) == expected) }
    #expect(template.render("{{id}}-{{taskid}}-{{node.id}}", nil, upTo: 1000) == "ƒ211-{{taskid}}-{{node.id}}")
  }
}
