// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import FluxJob
import FluxWire
import Glibc

/// Runs jobs: N nodes × n tasks as processes of this machine, with Flux's execution log (RFC 50) and output log (RFC 24).
final class JobExecutor {
  /// How long a job's processes have after SIGTERM before SIGKILL.
  static let killTimeout = 5.0
  /// The most output of one job that is kept, in bytes; what comes after is dropped, and the log says so.
  static let maximumOutput = 256 << 20

  private unowned let broker: Broker
  private unowned let manager: JobManager
  private let surroundings: any Surroundings
  private let uri: String
  /// Where jobs' temporary directories are made.
  private let directory: String
  private let setsHostname: Bool
  private var runs: [JobID: JobRun] = [:]

  init(
    _ broker: Broker, _ manager: JobManager, _ surroundings: any Surroundings, uri: String, directory: String,
    setsHostname: Bool
  ) {
    self.directory = directory
    self.broker = broker
    self.manager = manager
    self.surroundings = surroundings
    self.uri = uri
    self.setsHostname = setsHostname
  }

  var isIdle: Bool { runs.isEmpty }

  /// Whether a job has processes, or is about to.
  func runs(_ job: Job) -> Bool { runs[job.id] != nil }

  /// The job has its resources: starts its tasks.
  func start(_ job: Job) {
    guard let resources = job.resources else { return }
    let layout = TaskLayout(job.jobspec, resources)
    let run = JobRun(
      job, layout, broker, surroundings, whenRoom: { [manager] in manager.whenRoom($0) },
      { [weak self] run, event in self?.handle(run, event) })
    runs[job.id] = run
    log(job, "init")
    log(job, "starting")
    broker.register(JobRun.service(of: job.id), run)
    manager.post(job, "start")
    // A job that has run, even for a moment, must not be run again by an instance that knows nothing of it.
    manager.whenDurable { [weak self] in self?.launch(run) }
  }

  /// The start is on record: the processes may come.
  private func launch(_ run: JobRun) {
    let job = run.job
    guard let resources = job.resources else { return }
    guard job.state == .run else { return run.abort(WaitStatus(signal: Int(job.endSignal))) }
    do throws(JobFiles.Failure) { try run.prepare(directory: directory) } catch { return fail(run, error) }
    let layout = run.layout
    var context: JSONObject = [
      "service": .string(JobRun.service(of: job.id)), "leader-rank": 0,
      "size": .int(Int64(layout.nodeCount)),
    ]
    for (key, value) in run.terminalNote { context[key] = value }
    log(job, "shell.init", context)
    if let path = run.files?.inputPath {
      input(job, "redirect", ["stream": "stdin", "rank": "all", "path": .string(path)])
    }
    output(
      job, "header",
      [
        "version": 1, "encoding": ["stdout": "UTF-8", "stderr": "UTF-8"],
        "count": ["stdout": .int(Int64(layout.tasks.count)), "stderr": .int(Int64(layout.tasks.count))], "options": [:],
      ])
    let ranks = JSON.string(IDSet(0..<layout.tasks.count).bracketed)
    for (stream, path) in run.redirects {
      output(job, "redirect", ["stream": .string(stream), "rank": ranks, "path": .string(path)])
    }
    for warning in run.warnings {
      output(
        job, "log",
        [
          "rank": 0, "level": 4, "message": .string(warning.text), "component": .string(warning.component),
        ])
    }
    for path in run.extractFiles() { shellLog(run, level: 3, component: nil, "\(path): cannot be written") }
    checkDirectory(run)
    let resourcesFirst = resources.ranks.first?.rank ?? 0
    run.start(environment: environment(job, layout), hostnames: setsHostname, leader: resourcesFirst)
    if run.hasStarted { log(job, "shell.start", ["taskmap": layout.map.json]) }
    limit(job)
  }

  /// The job's resources expire at another time than was known: its time limit follows.
  func limit(_ job: Job) {
    guard let expiration = job.resources?.expiration else { return }
    let left = expiration > 0 ? max(expiration - broker.now(), 0) : nil
    guard let run = runs[job.id] else { return }
    run.limit(left)
    if left == nil, let signal = run.lastSignal {
      shellLog(
        run, level: 5, component: "signal", "job has no expiration, \(Self.name(of: signal)) will not be sent")
    }
  }

  /// A number with one decimal.
  private static func tenths(_ number: Double) -> String { String((min(number, 1e15) * 10).rounded() / 10) }

  private static func name(of signal: CInt) -> String {
    cspawn_signal_name(signal).map { "SIG\(String(cString: $0))" } ?? "signal \(signal)"
  }

  /// The job's time is over: its processes get SIGALRM, and SIGKILL a little later.
  private func expire(_ job: Job) {
    if !job.wasRaised { job.endSignal = SIGALRM }
    manager.raise(
      job, type: "timeout", severity: 0, note: "resource allocation expired", userID: broker.owner)
  }

  /// The job's shell could not even start: what it would log, raise and end with.
  private func fail(_ run: JobRun, _ failure: JobFiles.Failure) {
    let job = run.job
    for line in failure.log { shellLog(run, level: line.level, component: line.component, line.text) }
    manager.raise(job, type: "exec", severity: 0, note: failure.note, userID: job.userID)
    run.abort(failure.status)
  }

  /// A line of the shell's: to where standard error goes.
  private func shellLog(_ run: JobRun, level: Int64, component: String?, node: Int = 0, _ text: String) {
    let label = level == 0 ? "FATAL: " : level < 5 ? "ERROR: " : ""
    if run.log("\(label)\(component.map { "\($0): " } ?? "")\(text)") { return }
    var context: JSONObject = ["rank": .int(Int64(node)), "level": .int(level), "message": .string(text)]
    context["component"] = component.map { .string($0) }
    output(run.job, "log", context)
  }

  /// Every node's shell says where it goes when the job's directory cannot be entered.
  private func checkDirectory(_ run: JobRun) {
    guard let path = run.job.jobspec.cwd, access(path, X_OK) != 0 else { return }
    let words = String(cString: strerror(errno))
    var hosts: [Int: String] = [:]
    for task in run.layout.tasks { hosts[task.node] = task.host }
    for (node, host) in hosts.sorted(by: { $0.key < $1.key }) {
      shellLog(
        run, level: 3, component: nil, node: node,
        "host \(host): Could not change dir to \(path): \(words). Going to /tmp instead")
    }
  }

  private func environment(_ job: Job, _ layout: TaskLayout) -> [String: String] {
    var variables: [String: String] = [:]
    for (name, value) in job.jobspec.environment { variables[name] = value.stringValue }
    variables["FLUX_JOB_ID"] = job.id.encoded(.f58)
    variables["FLUX_JOB_SIZE"] = String(layout.tasks.count)
    variables["FLUX_JOB_NNODES"] = String(layout.nodeCount)
    variables["FLUX_URI"] = uri
    variables["FLUX_JOB_ID_PATH"] = "/" + job.id.encoded(.f58)
    variables["FLUX_KVS_NAMESPACE"] = "job-\(job.id.encoded(.dec))"
    variables["FLUX_PROXY_REMOTE"] = nil
    return variables
  }

  /// Sends a signal to every process of a job.
  func kill(_ job: Job, signal: CInt) { runs[job.id]?.signal(signal) }

  /// A fatal exception: the job's processes get SIGTERM (SIGALRM when its time is over), and SIGKILL a little later.
  func terminate(_ job: Job) {
    // Without a run its end is on its way already.
    runs[job.id]?.terminate(with: job.endSignal, after: Self.killTimeout)
  }

  // MARK: What happens to a run

  private func handle(_ run: JobRun, _ event: JobRun.Event) {
    let job = run.job
    switch event {
    case .data(let task, let stream, let bytes): output(job, task: task, stream: stream, bytes)
    case .endOfFile(let task, let stream):
      output(job, "data", ["stream": .string(stream), "rank": .string(String(task)), "eof": true])
    case .cannotStart(let task, let errnum):
      let words = String(cString: strerror(errnum))
      let name = job.jobspec.command.first ?? ""
      let note = "task \(task.rank) (host \(task.host)): start failed: \(name): \(words)"
      shellLog(run, level: 0, component: nil, note)
      manager.raise(job, type: "exec", severity: 0, note: note, userID: job.userID)
    case .exited(let task, let pid, let status):
      // The shell reports the first task that ends, and no other.
      guard run.isFirstExit else { break }
      log(
        job, "shell.task-exit",
        [
          "localid": .int(Int64(task.localID)), "rank": .int(Int64(task.rank)), "state": "Exited",
          "pid": .int(Int64(pid)), "wait_status": .int(Int64(status.rawValue)),
          "signaled":
            .int(Int64(status.signal ?? 0)), "exitcode": .int(Int64(status.returnCode)),
        ])
    case .input(let name, let context): input(job, name, context)
    case .dropped(let component, let text):
      output(job, "log", ["level": 2, "rank": 0, "component": .string(component), "message": .string(text)])
    case .log(let text): shellLog(run, level: 3, component: nil, text)
    case .limitReached: expire(job)
    case .warning(let signal, let left):
      shellLog(
        run, level: 5, component: "signal",
        "job will expire in \(Self.tenths(left))s, sending \(Self.name(of: signal)) to job")
      manager.kill(job, signal: Int(signal))
    case .doomed(let note, let component, let status):
      shellLog(run, level: 0, component: component, note)
      manager.raise(job, type: "exec", severity: 0, note: note, userID: job.userID, waitStatus: status)
    case .finished(let status): finish(job, status)
    }
  }

  private func finish(_ job: Job, _ status: WaitStatus) {
    let run = runs.removeValue(forKey: job.id)
    broker.unregister(JobRun.service(of: job.id))
    if let run {
      let leader = job.resources?.ranks.first?.rank ?? 0
      log(
        job, "shell-exit",
        ["rank": .int(Int64(leader)), "wait_status": .int(Int64(run.leaderStatus.rawValue))])
    }
    var status = status
    if job.wasRaised { status = job.statusAfterException(status) }
    log(job, "complete", ["status": .int(Int64(status.rawValue))])
    log(job, "done")
    manager.closeGuest(of: job)
    manager.finished(job, status)
  }

  // MARK: Logs

  private func log(_ job: Job, _ name: String, _ context: JSONObject? = nil) {
    manager.append(manager.event(name, context).line, to: .exec, of: job)
  }

  private func output(_ job: Job, task: Int, stream: String, _ bytes: [UInt8]) {
    var context: JSONObject = ["stream": .string(stream), "rank": .string(String(task))]
    if let text = String(validating: bytes, as: UTF8.self) {
      context["data"] = .string(text)
    } else {
      context["encoding"] = "base64"
      context["data"] = .string(Base64.encode(bytes))
    }
    let kept = (runs[job.id]?.outputBytes ?? 0) + bytes.count
    runs[job.id]?.outputBytes = kept
    guard kept <= Self.maximumOutput else {
      if kept - bytes.count <= Self.maximumOutput {
        let words = "the job has written more than \(Self.maximumOutput >> 20) MiB; what follows is dropped"
        output(job, "log", ["level": 2, "rank": 0, "component": "output", "message": .string(words)])
      }
      return
    }
    output(job, "data", context)
  }

  /// Adds to the log of standard input, which begins with its header.
  private func input(_ job: Job, _ name: String, _ context: JSONObject) {
    if job.input.isEmpty {
      for header in job.inputLog { manager.append(header, to: .input, of: job) }
    }
    manager.append(manager.event(name, context).line, to: .input, of: job)
  }

  private func output(_ job: Job, _ name: String, _ context: JSONObject) {
    manager.append(manager.event(name, context).line, to: .output, of: job)
  }
}
