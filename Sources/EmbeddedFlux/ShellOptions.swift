// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// What the shell options of a jobspec say beside streams: limits, signals, when the job ends with a task, GPUs. Pure; rules and words are those of
/// Flux's shell.
struct ShellOptions: Sendable {
  /// A line of the shell's log.
  struct Line: Hashable, Sendable {
    var level: Int64
    var component: String?
    var text: String

    init(_ level: Int64, _ component: String?, _ text: String) {
      self.level = level
      self.component = component
      self.text = text
    }
  }

  /// An option that cannot be meant: the job does not start.
  struct Failure: Error, Hashable {
    var component: String
    var text: String
    /// The shell's plugin that fails, where that has another name.
    var plugin: String?
    /// What is said before.
    var earlier: [Line] = []
    /// Whether the shell ends at once, and says no more.
    var isFatal = false
  }

  /// What the shell says of an option, and goes on.
  struct Warning: Hashable, Sendable {
    var component: String
    var text: String
  }

  /// A soft limit of the tasks.
  struct Limit: Hashable, Sendable {
    var resource: CInt
    var value: UInt64
  }

  /// Which GPUs of its node a task sees.
  enum Binding: Hashable, Sendable {
    /// Nothing is said.
    case off
    /// All that the job has there.
    case node
    /// An equal share.
    case task
    /// By the number of the task on its node; the last is that of all others.
    case map([IDSet])
  }

  /// How long others may go on once a task has ended, in seconds; nil is for ever.
  private(set) var exitTimeout: Double? = 30
  /// Whether the first task that fails ends the job.
  private(set) var exitsOnError = false
  /// A signal for the job's tasks, and how many seconds before its end.
  private(set) var signal: (number: CInt, timeLeft: Double)?
  private(set) var limits: [Limit] = []
  private(set) var binding = Binding.node
  /// Which tasks have a terminal.
  private(set) var terminal: TerminalOption?
  /// Whether the tasks are given PMI.
  private(set) var hasPMI = true
  private(set) var warnings: [Warning] = []

  /// Options of Flux's shell that ask for something that is not here.
  private static let missing: [String] = [
    "cpu-affinity", "hwloc", "initrc", "stage-in", "sysmon", "userrc",
  ]

  /// - Parameter hard: the hard limit of a resource of this process.
  init(_ options: JSON?, hard: (CInt) -> UInt64 = Self.hardLimit) throws(Failure) {
    guard let options else { return }
    for (name, value) in options["rlimit"]?.objectValue ?? [:] { try add(limit: name, value, hard) }
    try readExit(options)
    try readSignal(options["signal"])
    try readBinding(options["gpu-affinity"])
    terminal = try TerminalOption(options["pty"])
    warnings += terminal?.warnings ?? []
    hasPMI = options["pmi"]?.stringValue != "off"
    for name in Self.missing where options[name] != nil && options[name]?.stringValue != "off" {
      warnings.append(Warning(component: name, text: "this instance does not support the option: it changes nothing"))
    }
  }

  // MARK: Limits

  private static let resources: [String: CInt] = [
    "cpu": CInt(RLIMIT_CPU.rawValue), "fsize": CInt(RLIMIT_FSIZE.rawValue), "data": CInt(RLIMIT_DATA.rawValue),
    "stack": CInt(RLIMIT_STACK.rawValue), "core": CInt(RLIMIT_CORE.rawValue), "rss": CInt(__RLIMIT_RSS.rawValue),
    "nofile": CInt(RLIMIT_NOFILE.rawValue), "ofile": CInt(RLIMIT_NOFILE.rawValue), "as": CInt(RLIMIT_AS.rawValue),
    "nproc": CInt(__RLIMIT_NPROC.rawValue), "memlock": CInt(__RLIMIT_MEMLOCK.rawValue),
    "msgqueue": CInt(__RLIMIT_MSGQUEUE.rawValue), "nice": CInt(__RLIMIT_NICE.rawValue),
    "rtprio": CInt(__RLIMIT_RTPRIO.rawValue), "rttime": CInt(__RLIMIT_RTTIME.rawValue),
    "sigpending": CInt(__RLIMIT_SIGPENDING.rawValue),
  ]
  /// RLIM_INFINITY.
  static let unlimited = UInt64.max

  static func hardLimit(_ resource: CInt) -> UInt64 {
    var limit = rlimit()
    return getrlimit(__rlimit_resource_t(UInt32(resource)), &limit) == 0 ? UInt64(limit.rlim_max) : unlimited
  }

  private mutating func add(limit name: String, _ value: JSON, _ hard: (CInt) -> UInt64) throws(Failure) {
    guard let resource = Self.resources[name], case .int(let number) = value else {
      throw Failure(component: "rlimit", text: "invalid shell option rlimit.\(name)=\(value.text)")
    }
    var limit = Limit(resource: resource, value: UInt64(bitPattern: number))
    let most = hard(resource)
    if limit.value > most {
      limit.value = most
      warnings.append(
        Warning(component: "rlimit", text: "\(name) exceeds current max, raising value to hard limit"))
    }
    limits.append(limit)
  }

  // MARK: The end

  private mutating func readExit(_ options: JSON) throws(Failure) {
    exitsOnError = options["exit-on-error"] != nil
    switch options["exit-timeout"] {
    case nil: break
    case .string(let text) where text.lowercased() == "none": exitTimeout = nil
    case let value?:
      guard let seconds = Self.seconds(value) else {
        throw Failure(component: "task-exit", text: "exit-timeout is not a valid Flux Standard Duration")
      }
      exitTimeout = seconds.isFinite ? seconds : nil
    }
  }

  private static func seconds(_ value: JSON) -> Double? {
    let seconds = value.doubleValue ?? value.stringValue.flatMap { try? StandardDuration(parsing: $0) }?.seconds
    return seconds.flatMap { $0 >= 0 ? $0 : nil }
  }

  private mutating func readSignal(_ value: JSON?) throws(Failure) {
    guard let value, value != 0 else { return }
    var number = CInt(SIGUSR1)
    var left = 60.0
    if value.intValue == nil {
      let given = value["signum"]
      guard value.objectValue != nil, given == nil || given?.intValue != nil else {
        throw Failure(component: "signal", text: "error in shell `signal' option: Expected integer")
      }
      if let signum = given?.intValue { number = CInt(clamping: signum) }
      if let given = value["timeleft"] {
        guard let seconds = Self.seconds(given) else {
          throw Failure(component: "signal", text: "signal.timeleft=\(given.stringValue ?? given.text) is invalid")
        }
        left = seconds
      }
    }
    if (1...64).contains(number) { signal = (number, left) }
  }

  // MARK: GPUs

  /// The most GPUs that a map gives to a task.
  private static let maximumMapped = 1024

  private mutating func readBinding(_ value: JSON?) throws(Failure) {
    guard let text = value?.stringValue else { return }
    switch text {
    case "off": binding = .off
    case "per-task": binding = .task
    default:
      guard text.hasPrefix("map:") else { break }
      let sets = text.dropFirst(4).split(separator: ";").map { try? IDSet(parsing: String($0)) }
      // A set is short to write, and each of its members is written out for each task.
      guard !sets.isEmpty, sets.allSatisfy({ $0.map { $0.count <= Self.maximumMapped } ?? false }) else {
        throw Failure(component: "gpubind", text: "failed to parse gpu map \(text.dropFirst(4))")
      }
      binding = .map(sets.compactMap { $0 })
    }
  }

  /// The value of `CUDA_VISIBLE_DEVICES` for a task; nil leaves it alone. Without GPUs it is -1, so that none is used that the job does not have.
  ///
  /// - Parameters:
  ///   - gpus: those of the job on the task's node.
  ///   - tasks: how many of its tasks are there.
  func visibleGPUs(of task: TaskLayout.Task, gpus: IDSet, tasks: Int) -> String? {
    let chosen: [Int]
    switch binding {
    case .off: return nil
    case .node:
      if gpus.isEmpty { return "-1" }
      chosen = Array(gpus)
    case .task:
      let share = gpus.count / max(tasks, 1)
      chosen = Array(Array(gpus).dropFirst(task.localID * share).prefix(share))
    case .map(let sets): chosen = Array(sets[min(task.localID, sets.count - 1)])
    }
    return chosen.map(String.init).joined(separator: ",")
  }
}
