// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// What an attached session prints, in the words of `flux job attach`.
struct AttachPrinter {
  /// When the job's first event was: what times are counted from.
  var start: Double?
  private let options: AttachSession.Options
  private let context: CommandContext
  private var hasHeader = false
  private var prologs = 0
  private var status: String?
  private var statusEnded = false
  private var statusShown = false

  init(options: AttachSession.Options, context: CommandContext) {
    self.options = options
    self.context = context
  }

  /// A message of the command's own.
  mutating func message(_ text: String) {
    clearStatus()
    context.errorOutput.print("flux-job: \(text)")
  }

  /// An event, with --show-events or --show-exec.
  func event(_ entry: EventlogEntry, prefix: String) {
    let fields = entry.context.map { " " + JSONStyle.jansson.text(.object($0)) } ?? ""
    context.errorOutput.print("\(offset(entry)): \(prefix)\(entry.name)\(fields)")
  }

  /// An exception.
  mutating func exception(_ entry: EventlogEntry, type: String, severity: Int64, note: String) {
    clearStatus()
    context.errorOutput.print(
      "\(offset(entry)): job.exception \(options.name) type=\(type) severity=\(severity) \(note)")
  }

  /// An entry of the output eventlog.
  mutating func output(_ entry: EventlogEntry) throws {
    if entry.name == "header" { hasHeader = true }
    switch try OutputEntry(entry) {
    case .data(let stream, let rank, let bytes, _):
      guard hasHeader || options.tail != nil else { throw CommandFailure("stream data read before header") }
      guard !bytes.isEmpty else { break }
      let output = stream == "stdout" ? context.output : context.errorOutput
      output.write(options.labelIO ? Array("\(rank): ".utf8) + bytes : bytes)
    case .redirect(let stream, let rank, let path):
      guard !options.isQuiet else { break }
      context.errorOutput.print("\(rank): \(stream) redirected\(path.map { " to \($0)" } ?? "")")
    case .log(let log): self.log(log, entry)
    case .other: break
    }
  }

  private func log(_ log: OutputEntry.Log, _ entry: EventlogEntry) {
    guard !options.isQuiet else { return }
    var line = "\(offset(entry)): flux-shell"
    if let rank = log.rank { line += "[\(rank)]" }
    if let label = log.label { line += ": \(label)" }
    if let component = log.component { line += ": \(component)" }
    if options.isVerbose, let file = log.file {
      line += ": \(file)"
      if let number = log.line, number > 0 { line += ":\(number)" }
    }
    context.errorOutput.print("\(line): \(log.message)")
  }

  /// A message of the execution system's.
  mutating func execLog(_ entry: EventlogEntry) {
    guard let fields = entry.context, let rank = fields["rank"]?.stringValue,
      let component = fields["component"]?.stringValue, let stream = fields["stream"]?.stringValue,
      let data = fields["data"]?.stringValue
    else { return message("exec.log event malformed") }
    let prefix = options.isQuiet ? "" : "\(offset(entry)): \(component)[\(rank)]: \(stream): "
    context.errorOutput.write(prefix + data)
  }

  private func offset(_ entry: EventlogEntry) -> String {
    CFormat.string("%.3fs", entry.timestamp - (start ?? entry.timestamp))
  }

  // MARK: Status line

  /// Notes what an event means for the status line.
  mutating func updateStatus(_ entry: EventlogEntry) {
    switch entry.name {
    case "submit": status = "submitted"
    case "validate": status = "resolving dependencies"
    case "depend": status = "waiting for priority assignment"
    case "priority": status = "waiting for resources"
    case "alloc": status = "starting"
    case "prolog-start":
      prologs += 1
      status = "waiting for prolog"
    case "prolog-finish":
      prologs -= 1
      status = prologs > 0 ? "waiting for prolog" : "starting"
    case "exception" where entry.context?["severity"]?.intValue == 0: status = "canceling due to exception"
    case "start", "clean":
      status = "started"
      finishStatus()
      statusEnded = true
    default: break
    }
  }

  /// Writes the status line.
  ///
  /// - Returns: false when there is to be none any more.
  mutating func showStatus() -> Bool {
    guard !statusEnded else { return false }
    guard let status, let start else { return true }
    statusShown = true
    let seconds = max(0, Int(CFormat.now() - start))
    var size = winsize()
    let columns = ioctl(context.input, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
    let width = max(status.count, columns - 20 - options.name.count)
    let time = CFormat.string("%02d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60)
    let padding = String(repeating: " ", count: width - status.count)
    context.errorOutput.write("\rflux-job: \(options.name) \(status)\(padding) \(time)\r")
    return true
  }

  /// Ends the status line.
  mutating func finishStatus() {
    if statusShown { context.errorOutput.write("\n") }
    statusShown = false
  }

  private func clearStatus() {
    if statusShown { context.errorOutput.write("\r\u{1b}[K") }
  }
}
