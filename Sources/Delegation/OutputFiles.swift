// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// The files that a job's output goes to (`--output`, `--error`), which are at the origin: they are written there as the output comes, and the
/// remote shell is not told of them.
///
/// The shell's templates (flux-core `shell.c`, `mustache_cb`) are rendered with the origin job's id. One that depends on a node, or on
/// something else that only the shell knows, is left to the remote shell: then there is no value of this type, and the file is at the target.
public struct OutputFiles: Hashable, Sendable {
  /// Where a stream goes.
  public struct File: Hashable, Sendable {
    /// The path, absolute, with all but the tasks' templates rendered.
    public var path: String
    /// The same as the job's owner wrote it, relative where it was; what is too long is shown in part.
    public var shown: String
    /// Whether each line begins with its task's rank.
    public var isLabelled: Bool

    /// Whether no file can have such a path.
    public var isTooLong: Bool { path.utf8.count >= OutputFiles.maximumPathLength }

    /// The path for the output of one task.
    public func path(of task: Int) -> String {
      guard path.contains("{{") else { return path }
      var text = path
      for tag in OutputFiles.taskTags { text = text.replacing("{{\(tag)}}", with: String(task)) }
      return text
    }
  }

  /// The longest path, in bytes, with the zero at its end (PATH_MAX). Rendering stops there: a long name, often enough, would fill any memory.
  public static let maximumPathLength = 4096
  /// How much of a path is shown that is too long, in bytes.
  private static let shownLength = 100

  /// Templates that differ from task to task.
  fileprivate static let taskTags = ["taskid", "task.id", "task.rank"]

  /// Standard output's file; nil when it goes to the job's log.
  public var out: File?
  /// Standard error's.
  public var err: File?
  /// Whether what is in a file stays there.
  public var appends: Bool
  /// How many tasks the job has, at most.
  private let taskCount: Int
  /// The most tasks of a job whose jobspec does not say how many it has: so many for each of its nodes or cores.
  private static let maximumTaskCount = 1 << 20

  /// Why there can be no such files, in words for the job's owner; nil when there can.
  public var refusal: String? {
    for (option, file) in [("--output", out), ("--error", err)] {
      guard let file, file.isTooLong else { continue }
      return "\(option): the path has more than \(Self.maximumPathLength - 1) bytes: \(file.shown)"
    }
    return nil
  }

  /// The task that a `rank` of the output log names. The target writes it, and it goes into paths: nil for what is not the number of one of the
  /// job's tasks, in decimal digits.
  public func task(_ rank: String) -> Int? {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    guard rank.utf8.allSatisfy(digits.contains), let task = Int(rank), task < taskCount else { return nil }
    return task
  }

  /// The files in a jobspec; nil when it has none, or leaves them to the remote shell.
  ///
  /// - Parameters:
  ///   - id: the job's id at the origin.
  ///   - nodes: the number of its nodes, if that is known by now.
  public init?(_ jobspec: Jobspec, id: JobID, nodes: Int? = nil) {
    guard let options = jobspec.shellOptions?["output"] else { return nil }
    let render = { Self.render($0, jobspec, id, nodes) }
    let out = Self.Stream(options["stdout"], otherwise: nil)
    // Standard error goes where standard output does, unless it has a place of its own.
    let err = Self.Stream(options["stderr"], otherwise: out)
    guard out.template != nil || err.template != nil else { return nil }
    for template in [out.template, err.template] { if let template, render(template) == nil { return nil } }
    self.out = out.file(render, jobspec.cwd)
    self.err = err.file(render, jobspec.cwd)
    appends = options["mode"]?.stringValue == "append"
    taskCount = jobspec.shellOptions?["per-resource"] == nil ? jobspec.taskCount : Self.maximumTaskCount
  }

  private struct Stream {
    var template: String?
    var isLabelled: Bool

    init(_ options: JSON?, otherwise other: Stream?) {
      template = options?["path"]?.stringValue ?? other?.template
      if options?["type"]?.stringValue == "kvs" { template = nil }
      isLabelled = options?["label"]?.boolValue ?? other?.isLabelled ?? false
    }

    func file(_ render: (String) -> String?, _ directory: String?) -> File? {
      guard let template, let shown = render(template) else { return nil }
      let path = shown.hasPrefix("/") ? shown : "\(directory ?? "/")/\(shown)"
      var file = File(path: path, shown: shown, isLabelled: isLabelled)
      if file.isTooLong { file.shown = shown.cut(to: shownLength) }
      return file
    }
  }

  /// - Returns: nil for a template that only the shell can render; what is too long, as far as it was rendered.
  private static func render(_ template: String, _ jobspec: Jobspec, _ id: JobID, _ nodes: Int?) -> String? {
    var text = ""
    var rest = template[...]
    while text.utf8.count < maximumPathLength, let open = rest.firstRange(of: "{{"),
      let close = rest[open.upperBound...].firstRange(of: "}}")
    {
      let tag = String(rest[open.upperBound..<close.lowerBound])
      text += rest[..<open.lowerBound]
      if taskTags.contains(tag) {
        text += "{{\(tag)}}"
      } else {
        guard let value = value(tag, jobspec, id, nodes) else { return nil }
        text += value
      }
      rest = rest[close.upperBound...]
    }
    guard text.utf8.count < maximumPathLength else {
      return String(decoding: text.utf8.prefix(maximumPathLength), as: UTF8.self)
    }
    return text + rest
  }

  private static func value(_ tag: String, _ jobspec: Jobspec, _ id: JobID, _ nodes: Int?) -> String? {
    switch tag.hasPrefix("jobid") ? String(tag.dropFirst(3)) : tag {
    case "id", "id.f58": id.encoded(.f58)
    case "id.dec": id.encoded(.dec)
    case "id.hex": id.encoded(.hex)
    case "id.dothex": id.encoded(.dothex)
    case "id.words": id.encoded(.words)
    case "id.f58plain": id.encoded(.f58plain)
    case "name": jobspec.name
    case "ntasks", "size": String(jobspec.taskCount)
    // Before the job has started there is only a name for the number.
    case "nnodes": nodes.map { String($0) } ?? "1"
    default: nil
    }
  }

  // MARK: What the remote shell is told

  /// Takes the files out of a jobspec, so that all output goes to the job's log.
  public static func remove(from jobspec: inout Jobspec) {
    for stream in ["stdout", "stderr"] {
      for key in ["type", "path", "label"] {
        jobspec.json["attributes"]?["system"]?["shell"]?["options"]?["output"]?[stream]?[key] = nil
      }
    }
    // A shell cuts logs, at 10 MB on a multi-user instance or at what its owner has said, and files never: the most that it takes.
    jobspec.set(attribute: "system.shell.options.output.limit", to: "1G")
  }
}
