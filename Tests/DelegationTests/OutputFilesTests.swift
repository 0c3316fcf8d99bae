// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// Where a job's output goes at home.
@Suite struct OutputFilesTests {
  static func jobspec(
    _ path: String, tasks: Int = 4, name: String? = nil, options: String = ""
  ) throws -> Jobspec {
    var jobspec = try Jobspec(
      parsing: """
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"total":\(tasks)}}],
        "attributes":{"system":{"duration":0,"delegate":"b","cwd":"/home","shell":{"options":{\(options)}}}}}
        """)
    jobspec.set(attribute: "system.shell.options.output.stdout.path", to: .string(path))
    if let name { jobspec.set(attribute: "system.job.name", to: .string(name)) }
    return jobspec
  }

  @Test func onlyATasksNumberNamesATask() throws {
    let files = try #require(OutputFiles(try Self.jobspec("logs/{{taskid}}"), id: JobID(rawValue: 7)))
    #expect(files.task("0") == 0 && files.task("3") == 3)
    for rank in [
      "", "4", "-1", "+1", " 1", "1 ", "../../.ssh/authorized_keys", "0/x", "[0-3]", "0-3", "0x1", "\u{0661}",
      "99999999999999999999",
    ] {
      #expect(files.task(rank) == nil, "\(rank)")
    }
    #expect(files.out?.path(of: 3) == "/home/logs/3")
    // As many tasks as there are of something at the target: their number is only known there.
    let many = try Self.jobspec("x", options: #""per-resource":{"type":"core","count":2}"#)
    #expect(OutputFiles(many, id: JobID(rawValue: 7))?.task("5000") == 5000)
  }

  /// What is rendered often enough would fill any memory: it ends where no path can go on.
  @Test func aPathEndsWherePathsDo() throws {
    let name = String(repeating: "n", count: 1 << 20)
    let template = String(repeating: "{{name}}", count: 131_072)
    let files = try #require(OutputFiles(try Self.jobspec(template, name: name), id: JobID(rawValue: 7)))
    let file = try #require(files.out)
    #expect(file.isTooLong && file.path.utf8.count < 5000 && file.shown.utf8.count <= 100)
    #expect(files.refusal?.hasPrefix("--output: the path has more than 4095 bytes: nnn") == true)
    // As long as a path may be: "/home/" and the zero at its end count.
    let longest = try Self.jobspec(String(repeating: "x", count: 4089))
    #expect(OutputFiles(longest, id: JobID(rawValue: 7))?.refusal == nil)
    let longer = try Self.jobspec(String(repeating: "x", count: 4090))
    #expect(OutputFiles(longer, id: JobID(rawValue: 7))?.refusal != nil)
  }

  /// Nothing is sent of a job whose output can be written nowhere: it fails, and says why.
  @Test func aJobWithoutAPathFails() throws {
    var job = MirrorTests.new()
    let submission = Submission(userID: 0, urgency: 16, time: 1)
    _ = job.handle(.discovered(isNew: true, submission))
    _ = job.handle(.origin(MirrorTests.entry("validate")))
    let jobspec = try Self.jobspec("{{name}}{{name}}", name: String(repeating: "n", count: 2100))
    _ = job.handle(.read(JobRecord(id: JobID(rawValue: 7), userID: 0, urgency: 16, jobspec: jobspec, eventlog: [])))
    _ = job.handle(.chosen(MirrorTests.target))
    let actions = job.handle(.written)
    guard case .raise("DelegationFailure", 0, let note) = actions.first, actions.count == 1 else {
      Issue.record("\(actions)")
      return
    }
    #expect(note.contains("--output: the path has more than 4095 bytes"))
    #expect(job.handle(.written) == [.forget])
  }
}
