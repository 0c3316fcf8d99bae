// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import FluxWire
import Glibc

/// Attaches to a job: its output comes here, standard input and signals go there, and its exit code is the result.
///
/// Three eventlogs are followed. The main one says when the execution eventlog is worth following, that one when there
/// is output and which service takes standard input. The session ends when all three have ended.
actor AttachSession {
  /// What to show and to forward.
  struct Options: Sendable {
    /// The job's id as the user wrote it.
    var name: String
    /// The event of the main eventlog after which it is followed no further.
    var waitEvent = "clean"
    /// Whether main events are shown.
    var showsEvents = false
    /// Whether execution events are shown.
    var showsExecEvents = false
    /// Whether a status line is shown from the start.
    var showsStatus = false
    /// Whether lines of output begin with the task's rank.
    var labelIO = false
    /// Whether log messages say where in the shell's source they come from.
    var isVerbose = false
    /// Whether warnings are left out.
    var isQuiet = false
    /// Whether standard input and signals stay here.
    var isReadOnly = false
    /// The tasks that get standard input; nil is all.
    var inputRanks: IDSet?
    /// How many of the last entries of what was there before are shown; nil is all.
    var tail: Int?
  }

  /// The service that takes a job's standard input.
  struct ShellService: Sendable {
    var name: String
    var rank: UInt32
  }

  private enum Part { case eventlog, helper }

  let id: JobID
  let options: Options
  let connection: FluxConnection
  let context: CommandContext
  var printer: AttachPrinter
  private var exitCode: Int32 = 1
  private var hasFatalException = false
  /// Who takes standard input, once that is known.
  private var service: ShellService?
  private let execGate = AsyncStream<Void>.makeStream()
  private let outputGate = AsyncStream<Void>.makeStream()
  private let inputGate = AsyncStream<InputForwarding>.makeStream()
  /// Ends standard input's task early.
  private let inputStop = AsyncStream<Void>.makeStream()

  init(id: JobID, options: Options, connection: FluxConnection, context: CommandContext) {
    self.id = id
    self.options = options
    self.connection = connection
    self.context = context
    printer = AttachPrinter(options: options, context: context)
  }

  /// Attaches until the job has ended.
  ///
  /// - Returns: the job's exit code; 1 when it never started.
  func run() async throws -> Int32 {
    try await withThrowingTaskGroup(of: Part.self) { group in
      group.addTask { try await self.followMain() }
      group.addTask { try await self.followExec() }
      group.addTask { try await self.followOutput() }
      if !options.isReadOnly {
        group.addTask { try await self.forwardInput() }
        group.addTask { try await self.forwardSignals() }
      }
      group.addTask { await self.showStatus() }
      var eventlogs = 3
      while eventlogs > 0, let part = try await group.next() {
        if part == .eventlog { eventlogs -= 1 }
      }
      group.cancelAll()
    }
    printer.finishStatus()
    return hasFatalException && exitCode == 0 ? 1 : exitCode
  }

  // MARK: Eventlogs

  private func followMain() async throws -> Part {
    defer {
      execGate.continuation.finish()
    }
    do {
      for try await element in await EventlogWatch.open("eventlog", of: id, on: connection) {
        guard let entry = element?.entry else { continue }
        printer.start = printer.start ?? entry.timestamp
        try handle(entry)
        if options.showsEvents, entry.name != "exception" { printer.event(entry, prefix: "job.") }
        printer.updateStatus(entry)
        if entry.name == options.waitEvent { break }
      }
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
      throw CommandFailure("Failed to attach to \(options.name): No such job")
    } catch let error as RPCError where error.errnum == Errnum.notPermitted.rawValue {
      throw CommandFailure("Failed to attach to \(options.name): that is not your job")
    }
    return .eventlog
  }

  private func handle(_ entry: EventlogEntry) throws {
    switch entry.name {
    case "submit": execGate.continuation.yield()
    case "exception":
      guard let context = entry.context, let type = context["type"]?.stringValue,
        let severity = context["severity"]?.intValue
      else { throw CommandFailure("error decoding exception context") }
      printer.exception(entry, type: type, severity: severity, note: context["note"]?.stringValue ?? "")
      hasFatalException = severity == 0
      // Sending on would fail, and wait for a shell that will not come.
      if severity == 0 { inputStop.continuation.finish() }
    case "finish":
      guard let status = entry.context?["status"]?.intValue else {
        throw CommandFailure("error decoding finish context")
      }
      let wait = WaitStatus(rawValue: Int32(truncatingIfNeeded: status))
      exitCode = Int32(wait.returnCode)
      if let text = Self.describe(wait) { printer.message(text) }
    default: break
    }
  }

  /// What Flux says about a job's wait status; nil for success.
  static func describe(_ status: WaitStatus) -> String? {
    if let signal = status.signal { return "job shell \(String(cString: strsignal(CInt(signal))))" }
    guard let code = status.exitCode else { return "unexpected wait(2) status \(status.rawValue)" }
    // The shell exits with 128 and the signal's number when a signal ended a task.
    if code > 128 { return "task(s) \(String(cString: strsignal(CInt(code - 128))))" }
    return code > 0 ? "task(s) exited with exit code \(code)" : nil
  }

  private func followExec() async throws -> Part {
    defer {
      outputGate.continuation.finish()
      inputGate.continuation.finish()
    }
    for await _ in execGate.stream {
      for try await element in await EventlogWatch.open("guest.exec.eventlog", of: id, on: connection) {
        guard let entry = element?.entry else { continue }
        try await handleExec(entry)
        if options.showsExecEvents, entry.name != "log" { printer.event(entry, prefix: "exec.") }
      }
    }
    return .eventlog
  }

  private func handleExec(_ entry: EventlogEntry) async throws {
    switch entry.name {
    case "shell.init":
      guard let name = entry.context?["service"]?.stringValue,
        let rank = entry.context?["leader-rank"]?.intValue.flatMap({ UInt32(exactly: $0) })
      else { throw CommandFailure("error decoding shell.init context") }
      let service = ShellService(name: name, rank: rank)
      self.service = service
      outputGate.continuation.yield()
      if options.inputRanks == nil { inputGate.continuation.yield(forwarding(to: service)) }
    case "shell.start":
      if let ranks = options.inputRanks, let service { startForwarding(to: service, ranks, entry) }
    case "complete": outputGate.continuation.yield()
    case "log": printer.execLog(entry)
    default: break
    }
  }

  private func forwarding(to service: ShellService) -> InputForwarding {
    InputForwarding(service: service, connection: connection, context: context)
  }

  /// With --stdin-ranks: which tasks there are is known only now, and the input of the others is to be closed.
  private func startForwarding(to service: ShellService, _ wanted: IDSet, _ entry: EventlogEntry) {
    guard let count = Self.taskCount(entry.context?["taskmap"]) else {
      return printer.message("failed to process taskmap in shell.start event")
    }
    let tasks = IDSet(0..<count)
    let open = wanted.intersection(tasks)
    if open != wanted { printer.message("warning: adjusting --stdin-ranks from \(wanted) to \(open)") }
    var forwarding = forwarding(to: service)
    forwarding.ranks = open
    forwarding.closedRanks = tasks.subtracting(open)
    inputGate.continuation.yield(forwarding)
  }

  /// How many tasks a task map (RFC 34) has: blocks of first node, nodes, tasks a node, repetitions.
  static func taskCount(_ taskmap: JSON?) -> Int? {
    guard let blocks = taskmap?["map"]?.arrayValue ?? taskmap?.arrayValue else { return nil }
    var total: Int64 = 0
    for block in blocks {
      var tasks: Int64 = 1
      for index in 1...3 {
        guard let factor = block[index]?.intValue, factor > 0 else { return nil }
        let (product, overflow) = tasks.multipliedReportingOverflow(by: factor)
        if overflow || product > 1 << 30 { return nil }
        tasks = product
      }
      total += tasks
      if total > 1 << 30 { return nil }
    }
    return Int(total)
  }

  private func followOutput() async throws -> Part {
    for await _ in outputGate.stream {
      // Only this task reads the stream and awaits nothing else on the connection: the terminal's pace is the
      // connection's.
      let watch = await EventlogWatch.open(
        "guest.output", of: id, on: connection, flags: options.tail == nil ? [] : .initialSentinel,
        buffering: .pausing(4096))
      var held: [EventlogEntry]? = options.tail == nil ? nil : []
      do {
        for try await element in watch {
          guard let entry = element?.entry else {
            try held?.forEach { try printer.output($0) }
            held = nil
            continue
          }
          if held == nil || !["data", "log"].contains(entry.name) {
            try printer.output(entry)
          } else if case .data(_, _, let bytes, let isEnd) = try OutputEntry(entry), isEnd, bytes.isEmpty {
            continue
          } else {
            held?.append(entry)
            if let limit = options.tail, let count = held?.count, count > limit { held?.removeFirst(count - limit) }
          }
        }
      } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue {
        printer.message("No job output found")
      }
      break
    }
    return .eventlog
  }

  // MARK: Standard input and signals

  private func forwardInput() async throws -> Part {
    for await forwarding in inputGate.stream {
      let stop = inputStop.stream
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await forwarding.run() }
        group.addTask { for await _ in stop {} }
        try await group.next()
        group.cancelAll()
        do { try await group.waitForAll() } catch is CancellationError {}
      }
      break
    }
    return .helper
  }

  private func forwardSignals() async throws -> Part {
    let forwarded = [SIGTERM, SIGHUP, SIGALRM, SIGUSR1, SIGUSR2]
    let stream = SignalStream(forwarded + [SIGINT])
    var lastInterrupt: ContinuousClock.Instant?
    for await number in stream.signals {
      do {
        if forwarded.contains(number) {
          try await connection.rpc("job-manager.kill", ["id": id.json, "signum": .int(Int64(number))])
        } else if let last = lastInterrupt, last.duration(to: .now) <= .seconds(2) {
          try await connection.rpc(
            "job-manager.raise",
            ["id": id.json, "type": "cancel", "severity": 0, "note": "interrupted by ctrl-C"])
        } else {
          lastInterrupt = .now
          printer.message("one more ctrl-C within 2s to cancel")
        }
      } catch let error as RPCError {
        printer.message("\(number == SIGINT ? "cancel" : "kill"): \(error)")
      }
    }
    return .helper
  }

  // MARK: Status line

  private func showStatus() async -> Part {
    guard context.environment["FLUX_ATTACH_NONINTERACTIVE"] == nil else { return .helper }
    let terminals = context.terminals
    let isInteractive = terminals.input && terminals.output && terminals.error && !options.showsEvents
    guard options.showsStatus || isInteractive else { return .helper }
    do {
      if !options.showsStatus { try await Task.sleep(for: .seconds(2)) }
      while printer.showStatus() { try await Task.sleep(for: .seconds(1)) }
    } catch {}
    return .helper
  }
}
