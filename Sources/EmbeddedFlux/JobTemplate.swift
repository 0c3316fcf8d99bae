// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// Flux's mustache templates in commands and in names of files: `{{id}}`, `{{task.id}}`, `{{node.name}}` and so on. Pure.
///
/// A tag that means nothing, or nothing here, stays as it is. A tag is short, and what it stands for may be long: so there is a limit to what becomes of
/// a text, which is that of the system for what it is used for.
struct JobTemplate {
  /// The longest argument of a program that Linux takes, in bytes (MAX_ARG_STRLEN, without the NUL).
  static let maximumArgument = 128 << 10 - 1
  /// The longest list of arguments that Linux takes, in bytes, whatever the limit of the stack is.
  static let maximumArguments = 6 << 20
  /// The longest name of a file that Linux takes, in bytes (PATH_MAX, without the NUL).
  static let maximumPath = Int(PATH_MAX) - 1

  private let id: JobID
  private let name: String
  private let layout: TaskLayout
  private let resources: ResourceSet
  /// The jobs' directories, by node.
  private let directories: [String?]

  init(_ job: Job, _ layout: TaskLayout, _ resources: ResourceSet, directories: [String?] = []) {
    id = job.id
    name = job.jobspec.name
    self.layout = layout
    self.resources = resources
    self.directories = directories
  }

  /// A command with the tags replaced; nil when it is longer than the system takes.
  func render(command: [String], _ task: TaskLayout.Task?) -> [String]? {
    var left = Self.maximumArguments
    var words: [String] = []
    for text in command {
      guard let word = render(text, task, upTo: Self.maximumArgument), word.utf8.count < left else { return nil }
      // As the system counts: with the NUL at its end.
      left -= word.utf8.count + 1
      words.append(word)
    }
    return words
  }

  /// Replaces the tags; those of tasks and nodes when there is a task.
  ///
  /// - Parameter limit: how long the result may be, in bytes. A text without tags is what it is.
  /// - Returns: nil when it is longer.
  func render(_ text: String, _ task: TaskLayout.Task?, upTo limit: Int) -> String? {
    guard text.contains("{{") else { return text }
    var result = ""
    var rest = text[...]
    while let start = rest.firstRange(of: "{{"), let end = rest[start.upperBound...].firstRange(of: "}}") {
      result += rest[..<start.lowerBound]
      let tag = String(rest[start.upperBound..<end.lowerBound])
      result += value(of: tag, task) ?? "{{\(tag)}}"
      guard result.utf8.count <= limit else { return nil }
      rest = rest[end.upperBound...]
    }
    guard result.utf8.count + rest.utf8.count <= limit else { return nil }
    return result + rest
  }

  private func value(of tag: String, _ task: TaskLayout.Task?) -> String? {
    if tag.hasPrefix("jobid") { return identifier(tag.dropFirst(5)) }
    if tag.hasPrefix("id") { return identifier(tag.dropFirst(2)) }
    switch tag {
    case "name": return name
    case "nnodes": return String(layout.nodeCount)
    case "ntasks", "size": return String(layout.tasks.count)
    case "taskid", "task.id", "task.rank": return task.map { String($0.rank) }
    case "task.index", "task.localid": return task.map { String($0.localID) }
    case "tmpdir": return directories.indices.contains(task?.node ?? 0) ? directories[task?.node ?? 0] : nil
    default: break
    }
    guard tag.hasPrefix("node."), let task, resources.ranks.indices.contains(task.node) else { return nil }
    return node(String(tag.dropFirst(5)), task.node)
  }

  private func identifier(_ suffix: Substring) -> String? {
    if suffix.isEmpty { return id.encoded(.f58) }
    guard suffix.first == ".", let encoding = JobID.Encoding(rawValue: String(suffix.dropFirst())) else { return nil }
    return id.encoded(encoding)
  }

  private func node(_ tag: String, _ node: Int) -> String? {
    let rank = resources.ranks[node]
    let own = layout.ranks(of: node)
    switch tag {
    case "id": return String(node)
    case "name": return rank.host
    case "broker_rank": return String(rank.rank)
    case "ntasks": return String(own.count)
    case "taskids": return own.description
    case "cores", "resources.cores": return rank.cores.description
    case "gpus", "resources.gpus": return rank.gpus.description
    case "ncores", "resources.ncores": return String(rank.cores.count)
    default: return nil
    }
  }
}
