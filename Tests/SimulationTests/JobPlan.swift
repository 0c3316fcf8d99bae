// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// A job of a simulated world: what its owner asks for and does, and what becomes of it where it runs.
struct JobPlan {
  /// How a copy ends that is left alone.
  enum Fate {
    case exit(Int)
    case timeLimit
    case noSuchCommand
    case lost
    case noResources
  }

  /// What an owner does to a job.
  enum Wish {
    case cancel
    case urgency(Int)
    case signal(Int)
    case limit(Double)
  }

  var request: Request
  var submitAt = 0.0
  var urgency = 16
  /// When another dependency is gone that the job has.
  var dependencyUntil: Double?
  /// How long copies wait, and run.
  var wait = 0.02
  var runtime = 0.3
  /// What becomes of a copy, by its target's number.
  var fates: [Fate] = [.exit(0), .exit(0), .exit(0)]
  var wishes: [(time: Double, wish: Wish)] = []

  var isMirror: Bool { request.isMirror }

  /// Whether its copies run until they are cancelled.
  var isEndless: Bool { runtime > 1000 }

  /// The forms of a request.
  enum Request: Int, CaseIterable {
    case handOff, handOffToAny, handOffByAttribute, mirrorURI, mirrorLabel, mirrorAny, mirrorInOrder
    case impatientHandOff, impatientMirror, mirrorAtLeastOnce, mirrorAtLeastOnceInOrder

    /// Those that wait for their targets for as long as it takes.
    static let patient = allCases.prefix(7)

    /// Whether it may run again elsewhere.
    var isAtLeastOnce: Bool { self == .mirrorAtLeastOnce || self == .mirrorAtLeastOnceInOrder }

    var isMirror: Bool {
      switch self {
      case .handOff, .handOffToAny, .handOffByAttribute, .impatientHandOff: false
      case .mirrorURI, .mirrorLabel, .mirrorAny, .mirrorInOrder, .impatientMirror, .mirrorAtLeastOnce,
        .mirrorAtLeastOnceInOrder:
        true
      }
    }

    /// The attributes that ask for it.
    fileprivate var attributes: String {
      switch self {
      case .handOff: #""dependencies":[{"scheme":"delegate","value":"local:///t0"}]"#
      case .handOffToAny: #""dependencies":[{"scheme":"delegate","value":"random"}]"#
      case .handOffByAttribute: #""delegate":{"policy":"t1","mode":"hand-off"}"#
      case .mirrorURI: #""delegate":"local:///t1""#
      case .mirrorLabel: #""delegate":"t0""#
      case .mirrorAny: #""delegate":{"policy":"random","attempts":3}"#
      case .mirrorInOrder: #""delegate":{"targets":["t2","t0"]}"#
      case .impatientHandOff: #""delegate":{"policy":"random","mode":"hand-off","patience":1}"#
      case .impatientMirror: #""delegate":{"policy":"random","patience":1.5}"#
      case .mirrorAtLeastOnce: #""delegate":{"policy":"random","delivery":"at-least-once","patience":"1s"}"#
      case .mirrorAtLeastOnceInOrder:
        #""delegate":{"targets":["t0","t1","t2"],"delivery":"at-least-once","patience":2}"#
      }
    }

    /// The jobspec that asks for it.
    var jobspec: Jobspec { Self.jobspecs[rawValue] }

    private static let jobspecs: [Jobspec] = allCases.map { request in
      let text = """
        {"version":1,"resources":[{"type":"slot","count":1,"label":"task","with":[{"type":"core","count":1}]}],
        "tasks":[{"command":["true"],"slot":"task","count":{"per_slot":1}}],
        "attributes":{"system":{"duration":0,\(request.attributes)}}}
        """
      guard let jobspec = try? Jobspec(parsing: text) else { fatalError("\(request): not a jobspec") }
      return jobspec
    }
  }

  /// Any job.
  static func any(_ random: inout SplitMix64, _ faults: Faults) -> JobPlan {
    let requests = faults.deferrals > 0 ? Request.allCases[...] : Request.patient
    var plan = JobPlan(request: requests[random.below(requests.count)])
    plan.submitAt = random.between(0, 0.2)
    plan.runtime = random.chance(0.2) ? random.between(0, 0.02) : random.between(0, 2)
    plan.wait = random.between(0, 0.3)
    plan.fates = (0..<3).map { _ in fate(&random) }
    if random.chance(0.1) { plan.dependencyUntil = random.between(0, 1) }
    if random.chance(0.1) { plan.urgency = random.below(2) * 31 }
    guard random.chance(faults.owners) else { return plan }
    if random.chance(0.2) { plan.runtime = 1_000_000 }
    for _ in 0...random.below(3) {
      let time = random.chance(0.5) ? random.between(0, 0.3) : random.between(0, 3)
      let wish: Wish =
        switch random.below(8) {
        case 0, 1, 2, 3: .cancel
        case 4, 5: .urgency(random.below(3) * 15)
        case 6: .signal(10)
        default: .limit(random.between(1, 100))
        }
      plan.wishes.append((time, wish))
    }
    return plan
  }

  private static func fate(_ random: inout SplitMix64) -> Fate {
    switch random.below(12) {
    case 0: .timeLimit
    case 1: .noSuchCommand
    case 2: .lost
    case 3, 4: .noResources
    case 5: .exit(3)
    default: .exit(0)
    }
  }
}
