// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// The files that a job's tasks read and write instead of the job's logs (`--output`, `--error`, `--input`).
final class JobFiles {
  /// Why a job cannot start: what its shell would log, raise and end with.
  struct Failure: Error {
    var log: [(level: Int64, component: String?, text: String)]
    var note: String
    var status: WaitStatus

    init(log: [(level: Int64, component: String?, text: String)], note: String, status: WaitStatus) {
      self.log = log
      self.note = note
      self.status = status
    }

    /// A shell option cannot be meant.
    init(_ option: ShellOptions.Failure) {
      status = WaitStatus(exit: 1)
      if option.isFatal {
        note = option.text
        log = [(0, option.component, option.text)]
        return
      }
      note = "shell_init: No such file or directory"
      let plugin = option.plugin ?? option.component
      log =
        option.earlier.map { ($0.level, $0.component, $0.text) } + [
          (3, option.component, option.text), (3, nil, "plugin '\(plugin)': shell.init failed"), (0, nil, note),
        ]
    }
  }

  private struct Key: Hashable {
    var rank: Int
    var isError: Bool
  }

  /// The file that is every task's standard input.
  let inputPath: String?
  /// The streams that go to files: name, and the file's name as far as it is the same for all tasks.
  let redirects: [(stream: String, path: String)]
  /// What the shell has to say beside.
  private(set) var warnings: [ShellOptions.Warning] = []
  private let directory: String
  private let surroundings: any Surroundings
  private var files: [String: OutputFile] = [:]
  private var sinks: [Key: OutputSink] = [:]
  private var reported: Set<String> = []

  /// Opens the files of all tasks; relative names are under the job's working directory.
  init(
    _ job: Job, _ layout: TaskLayout, _ template: JobTemplate, _ broker: Broker, _ surroundings: any Surroundings
  ) throws(Failure) {
    self.surroundings = surroundings
    let streams = ShellStreams(job.jobspec.shellOptions)
    directory = Self.directory(job.jobspec.cwd)
    inputPath = streams.stdin
    let outputs = [("stdout", streams.stdout), ("stderr", streams.stderr)]
    var redirects: [(String, String)] = []
    for (name, output) in outputs {
      guard let path = output.template else { continue }
      redirects.append((name, try Self.render(path, template, nil)))
    }
    self.redirects = redirects
    for (name, output) in outputs {
      guard let path = output.template else { continue }
      if output.mode != "append", output.mode != "truncate" {
        warnings.append(
          ShellOptions.Warning(component: "output.task", text: "ignoring invalid output.mode=\(output.mode)"))
      }
      for task in layout.tasks {
        let file = try open(Self.render(path, template, task), output, broker)
        sinks[Key(rank: task.rank, isError: name == "stderr")] = OutputSink(
          file, rank: task.rank, isLineBuffered: output.isLineBuffered)
      }
    }
    try checkInput(streams)
  }

  /// The name of a file. One that is too long when it is written out is as one that is too long to begin with.
  private static func render(
    _ path: String, _ template: JobTemplate, _ task: TaskLayout.Task?
  ) throws(Failure) -> String {
    guard let path = template.render(path, task, upTo: JobTemplate.maximumPath) else {
      throw failure(path, ENAMETOOLONG)
    }
    return path
  }

  /// A file that cannot be opened.
  private static func failure(_ path: String, _ errnum: CInt) -> Failure {
    let words = String(cString: strerror(errnum))
    return Failure(
      log: [
        (3, "output.task", "open: \(path): \(words)"), (3, nil, "plugin 'output': shell.init failed"),
        (0, nil, "shell_init: \(words)"),
      ], note: "shell_init: \(words)", status: WaitStatus(exit: 1))
  }

  /// Where files are, whose names are relative.
  static func directory(_ wanted: String?) -> String {
    guard let wanted else { return "." }
    // As the tasks themselves, which are started in /tmp then.
    return access(wanted, X_OK) == 0 ? wanted : "/tmp"
  }

  private func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : "\(directory)/\(path)" }

  private func open(
    _ path: String, _ output: ShellStreams.Output, _ broker: Broker
  ) throws(Failure) -> OutputFile {
    if let file = files[path] { return file }
    do throws(Spawn.Failure) {
      let file = try OutputFile(absolute(path), mode: output.mode, isLabeled: output.isLabeled, broker, surroundings)
      files[path] = file
      return file
    } catch { throw Self.failure(path, error.errnum) }
  }

  private func checkInput(_ streams: ShellStreams) throws(Failure) {
    if streams.lacksInputPath {
      throw Failure(
        log: [(3, "input.file", "path for stdin file input not specified")],
        note: "path for stdin file input not specified", status: WaitStatus(exit: 1))
    }
    guard let path = inputPath, access(absolute(path), R_OK) != 0 else { return }
    let note = "error opening input file '\(path)': \(lastError())"
    // Flux's shell is ended by the exception before it can exit.
    throw Failure(log: [(0, "input.file", note)], note: note, status: WaitStatus(signal: Int(SIGTERM)))
  }

  /// Opens the input file for a task; nil when its input comes from clients.
  func openInput() throws(Spawn.Failure) -> CInt? {
    guard let inputPath else { return nil }
    // Not to be held up by a FIFO; the task itself reads as it likes.
    let descriptor = surroundings.open(absolute(inputPath), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw Spawn.Failure(errnum: errno) }
    _ = fcntl(descriptor, F_SETFL, 0)
    return descriptor
  }

  // MARK: Output

  /// Writes what a task has written, if that stream goes to a file; `next` is called when there is room for more.
  ///
  /// - Returns: false when it does not go to a file.
  func write(_ bytes: [UInt8], rank: Int, stream: String, next: @escaping () -> Void) -> Bool {
    let key = Key(rank: rank, isError: stream == "stderr")
    guard let file = sinks[key]?.file else { return false }
    sinks[key]?.write(bytes)
    file.whenDrained(next)
    return true
  }

  /// A stream has ended. Returns false when it does not go to a file.
  func finish(rank: Int, stream: String) -> Bool {
    let key = Key(rank: rank, isError: stream == "stderr")
    guard sinks[key] != nil else { return false }
    sinks[key]?.finish()
    return true
  }

  /// Writes a line of the shell's to where standard error goes. Returns false when that is no file.
  func log(_ text: String) -> Bool {
    guard let file = sinks[Key(rank: 0, isError: true)]?.file else { return false }
    file.write("flux-shell[0]: \(text)\n".utf8)
    return true
  }

  /// The words of errors in writing that were not told yet.
  func takeErrors() -> [String] {
    files.values.compactMap { file in
      guard let errnum = file.failure, reported.insert(file.path).inserted else { return nil }
      return "write \(file.path): \(String(cString: strerror(errnum)))"
    }
  }

  /// Whether all is written.
  var isDrained: Bool { files.values.allSatisfy(\.isDrained) }

  /// Calls back when one more file has taken all.
  func whenDrained(_ body: @escaping () -> Void) { files.values.first { !$0.isDrained }?.whenDrained(body) }

  /// Forgets what is not written.
  func abandon() { for file in files.values { file.abandon() } }

  func close() { for file in files.values { file.close() } }
}
