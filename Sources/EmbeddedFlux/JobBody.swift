// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The documents and logs of a job: what is not kept in memory once it has ended and the state directory has it.
final class JobBody {
  /// The submitted text, environment included.
  let signed: String
  /// The jobspec as submitted, with the defaults of the configuration.
  let jobspec: Jobspec
  /// Whether the configuration may have added something to what was submitted.
  let isCompleted: Bool
  /// The jobspec without its environment, as everybody but the job itself sees it.
  let redacted: JSON
  /// The same with updates applied.
  var current: JSON
  /// The resources that it asks for, with updates applied.
  var demand: VirtualCluster.Demand
  var eventlog: [EventlogEntry] = []
  /// What it has, with updates applied.
  var resources: ResourceSet?
  /// When its resources expired before the first update of that; nil without one.
  var firstExpiration: Double?
  /// The log of the execution (RFC 50), one JSON line an entry.
  var execLog: [String] = []
  /// The output log (RFC 24), one JSON line an entry.
  var output: [String] = []
  /// The log of the standard input (RFC 24), one JSON line an entry: empty until there is more in it than its header.
  var input: [String] = []

  /// How long the job's own logs are, in bytes.
  var lengths: [JobManager.GuestLog: Int] = [:]
  /// How long a log of a job may get by what clients write, in bytes: as long as what its own processes may write.
  static let maximumLog = JobExecutor.maximumOutput

  init(signed: String, jobspec: Jobspec, isCompleted: Bool = false) {
    self.isCompleted = isCompleted
    self.signed = signed
    self.jobspec = jobspec
    var redacted = jobspec.json
    if var system = redacted["attributes"]?["system"]?.objectValue {
      system["environment"] = nil
      redacted.set(path: "attributes.system", to: .object(system))
    }
    self.redacted = redacted
    current = redacted
    demand = VirtualCluster.Demand(jobspec)
  }

  /// The body of a job whose own is not in memory, so that nobody who looks at it anyway finds anything in it.
  static func none() -> JobBody {
    guard let jobspec = try? Jobspec(Jobspec.Request(command: ["true"])) else {
      preconditionFailure("a command of one word makes a jobspec")
    }
    return JobBody(signed: "", jobspec: jobspec)
  }
}

extension JobBody {
  /// One of the job's own logs.
  subscript(log: JobManager.GuestLog) -> [String] {
    _read {
      switch log {
      case .exec: yield execLog
      case .output: yield output
      case .input: yield input
      }
    }
    _modify {
      switch log {
      case .exec: yield &execLog
      case .output: yield &output
      case .input: yield &input
      }
    }
  }

  /// Takes the logs from the state directory.
  func readLogs(of id: JobID, _ reader: StateReader) throws(Database.Failure) {
    for log in JobManager.GuestLog.allCases {
      self[log] = try reader.lines(id, log.place)
      lengths[log] = self[log].reduce(0) { $0 + $1.utf8.count }
    }
  }

  /// What becomes of a line that a client adds to a log.
  enum Admission: Equatable {
    case all
    /// It is dropped, as the first one or not.
    case nothing(isFirst: Bool)
  }

  /// Whether a log takes so many bytes more. What it does not take is counted as well, so that nothing shorter comes after it.
  func admits(_ bytes: Int, to log: JobManager.GuestLog, maximum: Int = maximumLog) -> Admission {
    let length = lengths[log] ?? 0
    if length + bytes <= maximum { return .all }
    lengths[log] = max(length, maximum + 1)
    return .nothing(isFirst: length <= maximum)
  }
}
