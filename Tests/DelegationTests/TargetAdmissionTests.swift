// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@testable import Delegation

/// Drained targets, limits, black holes.
@Suite struct TargetAdmissionTests {
  private func id(_ number: UInt64) -> JobID { JobID(rawValue: number) }

  private func terms(_ json: String) throws -> TargetTerms {
    let list = try TargetList(configuration: try JSON(parsing: #"{"delegate":[{"uri":"local:///b",\#(json)}]}"#))
    return list.terms[FluxURI(local: "/b")] ?? TargetTerms()
  }

  private func words(_ answer: TargetAdmission.Answer) -> String {
    if case .later(let words) = answer { words } else { "" }
  }

  @Test func theConfigurationIsRead() throws {
    let terms = try terms(
      #""drain":"maintenance","max-jobs":3,"max-rate":0.5,"delivery":"at-least-once","patience":"10m""#)
    #expect(terms.drain == "maintenance" && terms.jobs == 3 && terms.rate == 0.5)
    #expect(terms.delivery == .atLeastOnce && terms.patience == 600)
    #expect(try self.terms(#""drain":false"#).drain == nil)
    #expect(try self.terms(#""drain":true"#).drain == "")
  }

  @Test(arguments: [
    (#""drain":3"#, "'drain' is 3"), (#""max-jobs":0"#, "'max-jobs' is 0"), (#""max-rate":"x""#, "'max-rate' is"),
    (#""delivery":"twice""#, "'delivery' is"), (#""patience":0"#, "'patience' is 0"),
  ]) func whatMeansNothingIsRefused(_ json: String, _ words: String) {
    let error = #expect(throws: RequestError.self) { try terms(json) }
    #expect(error?.message.contains("target 0 of the configuration") == true, "\(String(describing: error))")
    #expect(error?.message.contains(words) == true, "\(String(describing: error))")
  }

  @Test func atLeastOnceNeedsAnElsewhere() throws {
    for text in [
      #"{"policy":"b","delivery":"at-least-once"}"#, #"{"targets":["b"],"delivery":"at-least-once"}"#,
      #"{"policy":"random","attempts":1,"delivery":"at-least-once"}"#,
    ] {
      let error = #expect(throws: RequestError.self) { try DelegationRequest(attribute: try JSON(parsing: text)) }
      #expect(error?.message.contains("one target to run at") == true)
    }
    let request = try DelegationRequest(
      attribute: try JSON(parsing: #"{"policy":"random","delivery":"at-least-once","patience":"2h"}"#))
    #expect(request.delivery == .atLeastOnce && request.patience == 7200)
  }

  @Test func aDrainedTargetTakesNoJobs() throws {
    var target = TargetAdmission()
    #expect(target.admit(id(1), at: 0) == .now)
    target.drained = TargetAdmission.Drain(reason: "new kernel", since: 5)
    #expect(words(target.admit(id(2), at: 1)) == "drained: new kernel")
    #expect(target.room(at: 1) == 0)
    #expect(target.admit(id(1), at: 1) == .now, "what is there already stays")
    target.undrain()
    #expect(target.admit(id(2), at: 2) == .now)
  }

  @Test func atMostSoManyJobs() throws {
    var target = TargetAdmission()
    target.terms = try terms(#""max-jobs":2"#)
    #expect(target.room(at: 0) == 2)
    #expect(target.admit(id(1), at: 0) == .now && target.admit(id(2), at: 0) == .now)
    #expect(words(target.admit(id(3), at: 0)) == "it has 2 jobs of this origin, and max-jobs is 2")
    target.leave(id(1), at: 0)
    #expect(target.admit(id(3), at: 0) == .now)
    // A job of an earlier agent is there whatever the limit says.
    target.enter(id(4))
    #expect(target.count == 3 && target.room(at: 0) <= 0)
  }

  @Test func atMostSoManyASecond() throws {
    var target = TargetAdmission()
    target.terms = try terms(#""max-rate":2"#)
    var admitted = 0
    for tick in 0..<100 where target.admit(id(UInt64(tick)), at: Double(tick) / 10) == .now { admitted += 1 }
    // 2 at once, then 2 a second for 10 s.
    #expect((20...22).contains(admitted), "\(admitted)")
    #expect(words(target.answer(at: 9.9)).contains("max-rate is 2 submissions a second"))
  }

  private func blackHole() -> (TargetAdmission, JobID) {
    var target = TargetAdmission()
    for number in 1...5 as ClosedRange<UInt64> {
      _ = target.admit(id(number), at: Double(number))
      let said = target.report(id(number), failure: "exec: lost", at: Double(number) + 1)
      #expect((said != nil) == (number == 5), "\(number): \(said ?? "")")
      target.leave(id(number), at: Double(number) + 1)
    }
    return (target, id(6))
  }

  @Test func aBlackHoleIsPausedAndTriedWithOne() {
    var (target, probe) = blackHole()
    #expect(words(target.admit(probe, at: 10)).contains("5 jobs in a row"))
    #expect(words(target.admit(probe, at: 10)).contains("again in 26 s"))
    #expect(target.room(at: 36.5) == 1)
    #expect(target.admit(probe, at: 36.5) == .now)
    #expect(words(target.admit(id(7), at: 36.5)).contains("one job is being tried"))
    // It fails as well: twice the pause.
    #expect(target.report(probe, failure: "exec: lost", at: 37)?.contains("in 60 s") == true)
    target.leave(probe, at: 37)
    #expect(words(target.admit(id(7), at: 90)).contains("6 jobs in a row"))
    #expect(target.admit(id(7), at: 98) == .now)
    #expect(target.report(id(7), failure: nil, at: 99)?.contains("takes jobs again") == true)
    #expect(target.room(at: 99) == Int.max)
  }

  @Test func aProbeThatRunsOnHasProvedIt() {
    var (target, probe) = blackHole()
    #expect(target.admit(probe, at: 40) == .now)
    #expect(target.room(at: 50) == 0)
    #expect(target.room(at: 101) == Int.max)
    #expect(target.admit(id(8), at: 101) == .now && target.admit(id(9), at: 101) == .now)
    #expect(target.paused(at: 102) == nil)
  }

  /// A probe that is cancelled has told nothing: another one is tried.
  @Test func aProbeThatTellsNothing() {
    var (target, probe) = blackHole()
    #expect(target.admit(probe, at: 40) == .now)
    target.leave(probe, at: 41)
    #expect(target.room(at: 42) == 0, "not at once: a thousand that tell nothing would all go there")
    #expect(target.admit(id(7), at: 71) == .now)
    #expect(target.room(at: 72) == 0)
  }

  /// Failures that took long, or have a success between them, are no black hole.
  @Test func slowFailuresDoNotCount() {
    var target = TargetAdmission()
    for number in 1...20 as ClosedRange<UInt64> {
      _ = target.admit(id(number), at: 0)
      #expect(target.report(id(number), failure: "exec: lost", at: number.isMultiple(of: 4) ? 1000 : 1) == nil)
    }
  }
}
