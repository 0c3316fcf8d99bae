// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// The shell option `taskmap` (`--taskmap`): which task runs on which node. Schemes, rules and words are those of Flux's shell. Pure, but for the
/// file of the scheme `hostfile`.
struct TaskmapOption {
  /// How large a file of host names may be, in bytes.
  static let maximumFile = 1 << 20

  private let scheme: String
  private let value: String
  /// Where files are, whose names are relative.
  private let directory: String
  /// Opens a file, as ``Surroundings/open(_:_:)``.
  private let open: (String, CInt) -> CInt

  /// Nil when the option is not given, or changes nothing.
  init?(
    _ option: JSON?, directory: String, open: @escaping (String, CInt) -> CInt = { Glibc.open($0, $1) }
  ) throws(JobFiles.Failure) {
    guard let option else { return nil }
    self.directory = directory
    self.open = open
    do throws(Complaint) {
      guard option.objectValue != nil else { throw Complaint(text: "Expected object, got \(option.kind)") }
      guard let name = try Self.text(option, "scheme") else {
        throw Complaint(text: "Object item not found: scheme")
      }
      scheme = name
      value = try Self.text(option, "value") ?? ""
    } catch {
      throw Self.failure([
        (nil, "shell_getopt: unpack error: \(error.text)"), (nil, "failed to parse taskmap shell option"),
      ])
    }
    guard scheme == "block" else { return }
    if value.isEmpty { return nil }
    throw Self.failure([], "block taskmap does not accept a value (got \(value))")
  }

  private struct Complaint: Error {
    var text: String
  }

  private static func text(_ option: JSON, _ key: String) throws(Complaint) -> String? {
    guard let value = option[key] else { return nil }
    guard let text = value.stringValue else { throw Complaint(text: "Expected string, got \(value.kind)") }
    return text
  }

  private static func failure(_ errors: [(component: String?, text: String)], _ last: String = "shell_taskmap")
    -> JobFiles.Failure
  {
    JobFiles.Failure(
      log: errors.map { (3, $0.component, $0.text) } + [(0, nil, last)], note: last, status: WaitStatus(exit: 1))
  }

  /// Moves the tasks to where the option says.
  func apply(to layout: inout TaskLayout) throws(JobFiles.Failure) {
    let map: Taskmap
    switch scheme {
    case "manual":
      do throws(FormatError) { map = try Taskmap(parsing: value) } catch {
        throw Self.failure([], "taskmap=\(value): \(error.message)")
      }
    case "cyclic": map = try cyclic(layout)
    case "hostfile": map = try hostfile(layout)
    default: throw Self.failure([], "failed to map tasks with scheme=\(scheme)")
    }
    do throws(TaskLayout.Mismatch) { try layout.remap(map) } catch {
      let errors = error.text.map { [(component: String?.none, text: "invalid taskmap: \($0)")] } ?? []
      if scheme == "manual" { throw Self.failure(errors, "failed to set new shell taskmap") }
      throw Self.failure(errors + [(nil, "unable to update taskmap: No such file or directory")])
    }
  }

  /// The end of what goes wrong in one of the shell's plugins.
  private func failure(_ texts: String...) -> JobFiles.Failure {
    let name = "taskmap.\(scheme)"
    let errors = texts.map { (component: String?.some(name), text: $0) }
    return Self.failure(errors + [(nil, "plugin '\(name)': \(name) failed"), (nil, "\(name) failed")])
  }

  /// The nodes take so many tasks in turn, until none is left for them.
  private func cyclic(_ layout: TaskLayout) throws(JobFiles.Failure) -> Taskmap {
    let stride = value.isEmpty ? 1 : Int(value) ?? 0
    guard stride > 0 else { throw failure("invalid cyclic stride: \(value)") }
    var left = [Int](repeating: 0, count: layout.nodeCount)
    for task in layout.tasks { left[task.node] += 1 }
    var map = Taskmap()
    var open = left.indices.filter { left[$0] > 0 }
    while !open.isEmpty {
      for node in open {
        let count = min(stride, left[node])
        map.append(node: node, tasksPerNode: count)
        left[node] -= count
      }
      open.removeAll { left[$0] == 0 }
    }
    return map
  }

  /// Each task goes to the next host of a list, which begins anew at its end.
  private func hostfile(_ layout: TaskLayout) throws(JobFiles.Failure) -> Taskmap {
    let hosts = try hostsOfFile(atMost: layout.tasks.count)
    let nodes = Dictionary(layout.hosts.enumerated().map { ($1, $0) }) { first, _ in first }
    var map = Taskmap()
    for task in layout.tasks.indices {
      let host = hosts.isEmpty ? "(null)" : hosts[task % hosts.count]
      guard let node = nodes[host] else {
        throw failure("failed to map tasks with hostfile:\(value): host \(host) not found in job nodelist")
      }
      map.append(node: node, tasksPerNode: 1)
    }
    return map
  }

  private func hostsOfFile(atMost limit: Int) throws(JobFiles.Failure) -> [String] {
    let text: String
    do throws(Spawn.Failure) { text = try contents() } catch {
      let words = String(cString: strerror(error.errnum))
      throw failure("failed to open hostfile: \(value): \(words)", "failed to get hostlists from file and R")
    }
    var hosts: [String] = []
    for line in text.split(separator: "\n") {
      // A line that is no list of hosts counts for nothing, as in Flux.
      hosts += (try? Hostlist(parsing: String(line)))?.hosts ?? []
      if hosts.count >= limit { break }
    }
    return Array(hosts.prefix(limit))
  }

  /// The file's text; nothing is in what is no file.
  private func contents() throws(Spawn.Failure) -> String {
    if value.isEmpty { throw Spawn.Failure(errnum: ENOENT) }
    let path = value.hasPrefix("/") ? value : "\(directory)/\(value)"
    // Not to be held up by a FIFO.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard descriptor >= 0 else { throw Spawn.Failure(errnum: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return "" }
    guard status.st_size <= Self.maximumFile else { throw Spawn.Failure(errnum: EFBIG) }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    let count = read(descriptor, &bytes, bytes.count)
    return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self)
  }
}
