// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// What the shell options of a jobspec say of a task's streams: `output.stdout`, `output.stderr`, `input.stdin`. Pure.
struct ShellStreams: Hashable, Sendable {
  /// Where an output stream goes.
  struct Output: Hashable, Sendable {
    /// The file's name, a template; nil is the job's output log.
    var template: String?
    /// Whether what is written says which task wrote it.
    var isLabeled = false
    /// Whether whole lines are written.
    var isLineBuffered: Bool
    /// `truncate`, `append`; anything else does neither.
    var mode = "truncate"
  }

  var stdout: Output
  var stderr: Output
  /// The file that is every task's standard input; nil is what clients send.
  var stdin: String?
  /// Whether a file was asked for as standard input without a name.
  var lacksInputPath: Bool

  init(_ options: JSON?) {
    let output = options?["output"]
    stdout = Output(isLineBuffered: true)
    Self.read(output, "stdout", &stdout)
    // What is said of stdout holds for stderr too, but for the buffering.
    stderr = stdout
    stderr.isLineBuffered = false
    Self.read(output, "stderr", &stderr)
    let input = options?["input"]?["stdin"]
    let isFile = input?["type"]?.stringValue == "file"
    stdin = isFile ? input?["path"]?.stringValue : nil
    lacksInputPath = isFile && stdin == nil
  }

  private static func read(_ options: JSON?, _ name: String, _ output: inout Output) {
    if let mode = options?["mode"]?.stringValue { output.mode = mode }
    let own = options?[name]
    if let path = own?["path"]?.stringValue { output.template = path }
    if let label = own?["label"]?.boolValue { output.isLabeled = label }
    if own?["type"]?.stringValue == "kvs" { output.template = nil }
    if let buffer = own?["buffer"]?["type"]?.stringValue?.lowercased() { output.isLineBuffered = buffer != "none" }
  }
}
