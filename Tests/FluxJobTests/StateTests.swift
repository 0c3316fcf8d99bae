// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct StateTests {
  @Test func states() {
    #expect(JobState.allCases.map(\.rawValue) == [1, 2, 4, 8, 16, 32, 64])
    #expect(
      JobState.allCases.map(\.name) == ["NEW", "DEPEND", "PRIORITY", "SCHED", "RUN", "CLEANUP", "INACTIVE"])
    #expect(JobState.allCases.map(\.short) == ["N", "D", "P", "S", "R", "C", "I"])
    #expect(JobState(rawValue: 3) == nil)
  }

  @Test func results() {
    #expect(JobResult.allCases.map(\.rawValue) == [1, 2, 4, 8])
    #expect(JobResult.allCases.map(\.name) == ["COMPLETED", "FAILED", "CANCELED", "TIMEOUT"])
    #expect(JobResult.allCases.map(\.short) == ["CD", "F", "CA", "TO"])
  }

  @Test func waitStatus() {
    #expect(WaitStatus(exit: 3).rawValue == 768 && WaitStatus(exit: 256).rawValue == 0)
    #expect(WaitStatus(rawValue: 768).exitCode == 3 && WaitStatus(rawValue: 768).signal == nil)
    #expect(WaitStatus(rawValue: 36608).returnCode == 143 && WaitStatus(rawValue: 35072).returnCode == 137)
    #expect(WaitStatus(rawValue: 32512).returnCode == 127 && WaitStatus(rawValue: 0).returnCode == 0)
    let killed = WaitStatus(signal: 9)
    #expect(killed.rawValue == 9 && killed.signal == 9 && killed.exitCode == nil && killed.returnCode == 137)
    #expect(WaitStatus(rawValue: 15).returnCode == 143 && WaitStatus(rawValue: 139).signal == 11)
    let stopped = WaitStatus(rawValue: 0x137F)
    #expect(stopped.exitCode == nil && stopped.signal == nil && stopped.returnCode == 1)
    #expect(WaitStatus(rawValue: -1).returnCode == 1)
    for code in 0...255 { #expect(WaitStatus(exit: code).returnCode == code) }
  }

  @Test func formatError() {
    #expect(FormatError(.json, "bad", offset: 3).description == "bad (at offset 3)")
    #expect(FormatError(.jobID, "bad").description == "bad" && FormatError.Code.jobID.rawValue == "job-id")
    let codes: [FormatError.Code] = [
      .json, .jobID, .idset, .hostlist, .resourceSet, .eventlog, .jobspec, .duration, .uri, .dependency, .constraint,
      .signedJobspec, .base64,
    ]
    #expect(
      codes.map(\.rawValue) == [
        "json", "job-id", "idset", "hostlist", "R", "eventlog", "jobspec", "fsd", "uri", "dependency", "constraint",
        "J",
        "base64",
      ])
  }
}
