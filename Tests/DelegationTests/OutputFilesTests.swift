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
}
