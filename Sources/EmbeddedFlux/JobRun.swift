// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import FluxWire
import Glibc
import NIOCore

/// The processes of one running job.
///
/// A task has ended when its process has and both its pipes are at their end, or a second later when something that it left behind
/// keeps them open. The job has ended when all its tasks have.
final class JobRun: Service {
  /// What the executor is told.
  enum Event {
    case data(task: Int, stream: String, [UInt8])
    case endOfFile(task: Int, stream: String)
    case cannotStart(TaskLayout.Task, errnum: CInt)
    case exited(TaskLayout.Task, pid: pid_t, WaitStatus)
    case limitReached
    /// The job's time is over in so many seconds: it gets a signal.
    case warning(CInt, timeLeft: Double)
    /// Standard input, or where it comes from.
    case input(String, JSONObject)
    /// What is told of something that is too much: it is not kept.
    case dropped(component: String, String)
    /// A task's end, or what it says, ends the job.
    case doomed(note: String, component: String, WaitStatus?)
    /// Something that the shell would log.
    case log(String)
    case finished(WaitStatus)
  }

  /// How long a task's pipes may stay open after its process has ended, in seconds.
  private static let lingerTime = 1.0

  /// How much standard input may wait for a task that does not read it.
  static let maximumInput = 16 << 20

  struct TaskState {
    var layout: TaskLayout.Task
    var pid: pid_t = 0
    var pipes: [CInt: String] = [:]
    var input: CInt = -1
    /// Writes its standard input, once there is any.
    var writer: DescriptorWriter?
    /// Whether clients have said that its standard input ends.
    var endsInput = false
    /// What it runs on instead of pipes.
    var terminal: Terminal?
    var isTerminalRead = false
    var status: WaitStatus?

    /// Whether nothing will come of it any more.
    var isOver: Bool { status != nil && pipes.isEmpty && terminal?.isOver ?? true }
  }

  let job: Job
  var outputBytes = 0
  private(set) var hasStarted = false
  var tasks: [TaskState] = []
  private(set) var layout: TaskLayout
  unowned let broker: Broker
  let surroundings: any Surroundings
  let tell: (JobRun, Event) -> Void
  /// Runs something when more output can be kept.
  private let whenRoom: (@escaping () -> Void) -> Void
  private var timers: [Scheduled<Void>] = []
  private var limitTimer: Scheduled<Void>?
  private var warningTimer: Scheduled<Void>?
  private var killTimer: Scheduled<Void>?
  private(set) var isFinished = false
  private var exits = 0
  /// Whether the shell would be no more, though the tasks may not have ended yet.
  private(set) var hasDied = false
  /// How the job ends, however its tasks do.
  private var fixedStatus: WaitStatus?
  var files: JobFiles?
  var inputLog: InputLog?
  private(set) var options: ShellOptions?
  private(set) var pmi: PMIChannels?
  private(set) var directories: JobDirectories?
  private(set) lazy var template = makeTemplate()

  init(
    _ job: Job, _ layout: TaskLayout, _ broker: Broker, _ surroundings: any Surroundings,
    whenRoom: @escaping (@escaping () -> Void) -> Void, _ tell: @escaping (JobRun, Event) -> Void
  ) {
    self.whenRoom = whenRoom
    self.job = job
    self.layout = layout
    self.broker = broker
    self.surroundings = surroundings
    self.tell = tell
  }

  // MARK: Start

  private func makeTemplate() -> JobTemplate {
    let none = ResourceSet(ranks: [], startTime: 0, expiration: 0, properties: [:])
    return JobTemplate(job, layout, job.resources ?? none, directories: directories?.paths ?? [])
  }

  /// Makes the job's directories and opens its files.
  func prepare(directory: String) throws(JobFiles.Failure) {
    let mapping = job.jobspec.shellOptions?["taskmap"]
    let taskmap = try TaskmapOption(
      mapping, directory: JobFiles.directory(job.jobspec.cwd), open: { [surroundings] in surroundings.open($0, $1) })
    try taskmap?.apply(to: &layout)
    do throws(ShellOptions.Failure) {
      options = try ShellOptions(job.jobspec.shellOptions)
      inputLog = try InputLog(job.jobspec.shellOptions?["input"])
    } catch {
      throw JobFiles.Failure(error)
    }
    if options?.hasPMI == true {
      pmi = PMIChannels(job, layout, broker, surroundings) { [weak self] note, isFatal in
        guard let self else { return }
        tell(self, .doomed(note: note, component: "pmi-simple", isFatal ? WaitStatus(exit: 1) : nil))
      }
    }
    directories = JobDirectories(job.id, layout, parent: directory)
    files = try JobFiles(job, layout, template, broker, surroundings)
  }

  /// Writes the files that come with the job into its directories. Returns the names of those that could not be written.
  func extractFiles() -> [String] {
    guard let attached = job.jobspec.json["attributes"]?["system"]?["files"]?.objectValue else { return [] }
    return attached.compactMap { name, file in directories?.extract(name, file) == true ? nil : name }
  }

  /// Which streams go to files.
  var redirects: [(stream: String, path: String)] { files?.redirects ?? [] }
  /// What those who may attach are told when the shell is there.
  var terminalNote: JSONObject { options?.terminal?.note ?? [:] }
  /// What the shell has to say about the job's options.
  var warnings: [ShellOptions.Warning] { (options?.warnings ?? []) + (files?.warnings ?? []) }
  /// The signal before the job's end that it has asked for.
  var lastSignal: CInt? { options?.signal?.number }

  /// Writes a line of the shell's to where standard error goes. Returns false when that is no file.
  func log(_ text: String) -> Bool { files?.log(text) ?? false }

  /// The shell itself has failed: the job ends so, however its tasks do.
  func die(_ component: String, _ note: String) {
    hasDied = true
    fixedStatus = WaitStatus(exit: 1)
    tell(self, .doomed(note: note, component: component, nil))
  }

  /// Ends the job before any task has started.
  func abort(_ status: WaitStatus) {
    fixedStatus = status
    checkEnd()
  }

  /// Starts every task. The first that cannot be started ends the job.
  func start(environment: [String: String], hostnames: Bool, leader: Int) {
    tasks = layout.tasks.map { TaskState(layout: $0) }
    for index in tasks.indices {
      do { try start(index, environment, hostnames) } catch {
        fixedStatus = WaitStatus(exit: error.errnum == ENOENT ? 127 : 126)
        tell(self, .cannotStart(tasks[index].layout, errnum: error.errnum))
        for later in index..<tasks.count { tasks[later].status = fixedStatus }
        terminate(with: SIGTERM, after: JobExecutor.killTimeout)
        return checkEnd()
      }
    }
    hasStarted = true
    checkEnd()
  }

  // MARK: Watching

  func watch(_ index: Int, _ pipe: CInt, _ stream: String) {
    tasks[index].pipes[pipe] = stream
    let box = NIOLoopBound(self, eventLoop: broker.loop)
    surroundings.watch(pipe: pipe) { event in box.value.receive(index, pipe, event) }
  }

  func watchProcess(_ index: Int) {
    let box = NIOLoopBound(self, eventLoop: broker.loop)
    let isWatched = surroundings.watch(process: tasks[index].pid) { event in
      if case .exited(let status) = event { box.value.exited(index, status) }
    }
    guard !isWatched else { return }
    // No descriptor is left to watch it with: it is ended, and counted as killed.
    let pid = tasks[index].pid
    surroundings.signal(group: pid, SIGKILL)
    var status: Int32 = 0
    waitpid(pid, &status, 0)
    exited(index, status)
  }

  private func receive(_ index: Int, _ pipe: CInt, _ event: ProcessReactor.Event) {
    guard let stream = tasks[index].pipes[pipe] else { return }
    let rank = tasks[index].layout.rank
    switch event {
    case .read(let bytes):
      take(bytes, index, stream) { [weak self] in
        guard let self, tasks[index].pipes[pipe] != nil else { return }
        surroundings.resume(pipe: pipe)
      }
    case .endOfFile:
      tasks[index].pipes[pipe] = nil
      finish(stream, rank)
      checkEnd()
    case .exited: break
    }
  }

  /// Puts output where it belongs; `next` is called when there is room for more.
  func take(_ bytes: [UInt8], _ index: Int, _ stream: String, _ next: @escaping () -> Void) {
    let rank = tasks[index].layout.rank
    if files?.write(bytes, rank: rank, stream: stream, next: next) == true { return reportErrors() }
    tell(self, .data(task: rank, stream: stream, bytes))
    whenRoom(next)
  }

  func finish(_ stream: String, _ rank: Int) {
    if files?.finish(rank: rank, stream: stream) != true { tell(self, .endOfFile(task: rank, stream: stream)) }
  }

  private func reportErrors() {
    for words in files?.takeErrors() ?? [] { tell(self, .log(words)) }
  }

  private func exited(_ index: Int, _ raw: Int32) {
    let status = WaitStatus(rawValue: raw)
    tasks[index].status = status
    exits += 1
    closeInput(index)
    tell(self, .exited(tasks[index].layout, pid: tasks[index].pid, status))
    if isFirstExit { doom(tasks[index].layout, status) }
    tasks[index].terminal?.exited(raw)
    if !tasks[index].pipes.isEmpty {
      timers.append(broker.after(Self.lingerTime) { [weak self] in self?.giveUpPipes(of: index) })
    }
    checkEnd()
  }

  /// The first task has ended: the others have some time left, or none.
  private func doom(_ task: TaskLayout.Task, _ status: WaitStatus) {
    guard let options, !isFinished else { return }
    let program = job.jobspec.command.first?.split(separator: "/").last ?? ""
    let start = "\(program): task rank \(task.rank) on host \(task.host)"
    let words = status.signal.map { String(cString: strsignal(CInt($0))) } ?? "Exit \(status.exitCode ?? 0)"
    if options.exitsOnError, status.rawValue != 0 {
      let note = "\(start) failed (\(words)) and exit-on-error is set"
      return tell(self, .doomed(note: note, component: "task-exit", status))
    }
    guard let seconds = options.exitTimeout else { return }
    let limit = StandardDuration(seconds: seconds)
    let timer = broker.after(seconds) { [weak self] in
      guard let self, !isFinished, tasks.contains(where: { $0.status == nil }) else { return }
      let note = "\(start) exited (\(words)) and exit-timeout=\(limit) has expired"
      tell(self, .doomed(note: note, component: "task-exit", status))
    }
    timers.append(timer)
  }

  private func giveUpPipes(of index: Int) {
    for (pipe, stream) in tasks[index].pipes {
      surroundings.drop(pipe: pipe)
      finish(stream, tasks[index].layout.rank)
    }
    tasks[index].pipes.removeAll()
    checkEnd()
  }

  func checkEnd() {
    guard !isFinished, tasks.allSatisfy(\.isOver) else { return }
    if let files, !files.isDrained { return files.whenDrained { [weak self] in self?.checkEnd() } }
    isFinished = true
    reportErrors()
    files?.close()
    pmi?.close()
    for timer in timers + [limitTimer, killTimer, warningTimer].compactMap({ $0 }) { timer.cancel() }
    for index in tasks.indices {
      closeInput(index)
      tasks[index].terminal?.close()
    }
    guard let directories else { return tell(self, .finished(combined)) }
    directories.remove(broker.loop) { [self] in tell(self, .finished(combined)) }
  }

  /// The job's wait status: the highest of its tasks' exit codes, a signal s counting as 128 + s, as flux-shell's.
  private var combined: WaitStatus {
    if let fixedStatus { return fixedStatus }
    return WaitStatus(exit: tasks.compactMap { $0.status?.returnCode }.max() ?? 0)
  }

  /// The wait status of the first node's tasks, as its shell would end.
  var leaderStatus: WaitStatus {
    if let fixedStatus { return fixedStatus }
    let own = tasks.filter { $0.layout.node == 0 }
    return WaitStatus(exit: own.compactMap { $0.status?.returnCode }.max() ?? 0)
  }

  /// Whether exactly one task has ended yet.
  var isFirstExit: Bool { exits == 1 }

  // MARK: Signals and time

  func signal(_ signal: CInt) {
    for task in tasks where task.pid > 0 && task.status == nil { surroundings.signal(group: task.pid, signal) }
  }

  /// Ends the job: a signal first, and SIGKILL every so many seconds until all its processes are gone.
  func terminate(with first: CInt, after seconds: Double) {
    signal(first)
    for task in tasks { task.terminal?.release() }
    // What ends the job already goes on as it is.
    if killTimer == nil { killLater(seconds) }
  }

  private func killLater(_ seconds: Double) {
    killTimer = broker.after(seconds) { [weak self] in
      guard let self, !isFinished else { return }
      signal(SIGKILL)
      // A file that takes nothing must not keep a job that is ended by force.
      files?.abandon()
      killLater(seconds)
    }
  }

  /// Sets the time that is left, or that there is no limit.
  func limit(_ seconds: Double?) {
    limitTimer?.cancel()
    limitTimer = seconds.map { left in
      broker.after(left) { [weak self] in
        guard let self, !isFinished else { return }
        tell(self, .limitReached)
      }
    }
    warningTimer?.cancel()
    guard let signal = options?.signal, let seconds else { return warningTimer = nil }
    warningTimer = broker.after(max(seconds - signal.timeLeft, 0)) { [weak self] in
      guard let self, !isFinished else { return }
      tell(self, .warning(signal.number, timeLeft: signal.timeLeft))
    }
  }
}
