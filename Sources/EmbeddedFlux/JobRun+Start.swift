// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// How a task comes into being: its streams, its environment, its process.
extension JobRun {
  /// A task's standard input, output and error, and the other ends of them.
  private struct Ends {
    /// The task's own, in this order.
    var task: [CInt] = []
    /// Those that stay here; -1 where there is none.
    var here: [CInt] = []
    var terminal: Terminal?

    /// Makes a pipe by which the task reads or writes.
    mutating func addPipe(isInput: Bool) throws(Spawn.Failure) {
      do {
        let pipe = try Pipe()
        task.append(isInput ? pipe.read : pipe.write)
        here.append(isInput ? pipe.write : pipe.read)
      } catch {
        closeAll()
        throw error
      }
    }

    func closeTask() { for descriptor in Set(task) { Glibc.close(descriptor) } }

    func closeAll() {
      closeTask()
      for descriptor in here where descriptor >= 0 { Glibc.close(descriptor) }
      terminal?.close()
    }
  }

  /// Starts one task.
  func start(_ index: Int, _ environment: [String: String], _ hostnames: Bool) throws(Spawn.Failure) {
    let task = tasks[index].layout
    guard let command = template.render(command: job.jobspec.command, task) else {
      throw Spawn.Failure(errnum: E2BIG)
    }
    var variables = environment
    variables["FLUX_TASK_RANK"] = String(task.rank)
    variables["FLUX_TASK_LOCAL_ID"] = String(task.localID)
    if hostnames { variables["HOSTNAME"] = task.host }
    setGPUs(&variables, task)
    if let pmi { variables.merge(pmi.variables(of: task, size: layout.tasks.count)) { $1 } }
    if let path = directories?.paths[task.node] { variables["FLUX_JOB_TMPDIR"] = path }
    // As in Flux, the number of the session is not told.
    if options?.terminal != nil { variables["FLUX_TERMINUS_SESSION"] = "0" }
    let ends = try ends(index)
    let extra: CInt
    do { extra = try pmi?.open(task.rank) ?? -1 } catch {
      ends.closeAll()
      throw error
    }
    defer { if extra >= 0 { Glibc.close(extra) } }
    let spawn = Spawn(
      command: command, environment: variables, directory: job.jobspec.cwd, hostname: hostnames ? task.host : nil,
      input: ends.task[0], output: ends.task[1],
      error: ends.task[2], extra: extra, isOnTerminal: ends.terminal != nil, limits: options?.limits ?? [])
    do { tasks[index].pid = try surroundings.start(spawn) } catch {
      ends.closeAll()
      throw error
    }
    ends.closeTask()
    if let terminal = ends.terminal {
      begin(terminal, index)
    } else {
      tasks[index].input = ends.here[0]
      watch(index, ends.here[1], "stdout")
      watch(index, ends.here[2], "stderr")
    }
    watchProcess(index)
  }

  private func ends(_ index: Int) throws(Spawn.Failure) -> Ends {
    if let option = options?.terminal, option.includes(tasks[index].layout.rank) {
      let terminal = try open(option, index)
      return Ends(task: [terminal.follower, terminal.follower, terminal.follower], terminal: terminal)
    }
    var ends = Ends()
    if let file = try files?.openInput() {
      ends.task.append(file)
      ends.here.append(-1)
    } else {
      try ends.addPipe(isInput: true)
    }
    try ends.addPipe(isInput: false)
    try ends.addPipe(isInput: false)
    return ends
  }

  /// Which GPUs a task sees.
  private func setGPUs(_ variables: inout [String: String], _ task: TaskLayout.Task) {
    let gpus = job.resources?.ranks.dropFirst(task.node).first?.gpus ?? IDSet()
    let count = layout.taskCount(of: task.node)
    guard let visible = options?.visibleGPUs(of: task, gpus: gpus, tasks: count) else { return }
    variables["CUDA_VISIBLE_DEVICES"] = visible
    if variables["CUDA_DEVICE_ORDER"] == nil { variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID" }
  }

  // MARK: Terminals

  private func open(_ option: TerminalOption, _ index: Int) throws(Spawn.Failure) -> Terminal {
    let rank = tasks[index].layout.rank
    var capture: (([UInt8], @escaping () -> Void) -> Void)?
    if option.captures(rank) {
      capture = { [weak self] bytes, next in self?.take(bytes, index, "stdout", next) }
    } else if !option.awaitsClient(rank) {
      // Nobody can see it. Flux's shell would not read it, and the job not end.
      capture = { _, next in next() }
    }
    return try Terminal(broker, surroundings, awaitsClient: option.awaitsClient(rank), capture: capture) {
      [weak self] in
      self?.terminalChanged(index)
    }
  }

  /// A task runs on a terminal: nothing else comes from it.
  private func begin(_ terminal: Terminal, _ index: Int) {
    let rank = tasks[index].layout.rank
    tasks[index].terminal = terminal
    finish("stderr", rank)
    if options?.terminal?.captures(rank) == false { finish("stdout", rank) }
    terminal.start()
  }

  private func terminalChanged(_ index: Int) {
    guard let terminal = tasks[index].terminal, terminal.isDrained else { return }
    let rank = tasks[index].layout.rank
    if !tasks[index].isTerminalRead, options?.terminal?.captures(rank) == true { finish("stdout", rank) }
    tasks[index].isTerminalRead = true
    checkEnd()
  }
}
