// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// The processes of this run on this machine: those that have the run's directory in their environment or in their command line.
/// Others run the same programs here, and are not touched.
struct ProcessTable {
  enum Kind: Sendable {
    case agent
    case ssh
    case relay
    case other
  }

  struct Process: Hashable, Sendable {
    var pid: pid_t
    /// Together with the pid it is never another process.
    var startTime: String
    var kind: Kind
    var command: String

    /// Sends a signal, unless the pid has become another's meanwhile.
    @discardableResult func signal(_ number: CInt) -> Bool {
      ProcessTable.startTime(pid) == startTime && kill(pid, number) == 0
    }
  }

  /// The directory of the run: what makes a process one of this run's.
  let directory: String

  func all() -> [Process] {
    guard let entries = opendir("/proc") else { return [] }
    defer { closedir(entries) }
    var found: [Process] = []
    while let entry = readdir(entries) {
      let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      guard let pid = pid_t(name), pid != getpid(), let process = process(pid) else { continue }
      found.append(process)
    }
    return found.sorted { $0.pid < $1.pid }
  }

  func all(_ kind: Kind) -> [Process] { all().filter { $0.kind == kind } }

  private func process(_ pid: pid_t) -> Process? {
    let command = Self.contents("/proc/\(pid)/cmdline")
    guard !command.isEmpty, command.contains(directory) || Self.contents("/proc/\(pid)/environ").contains(directory),
      let start = Self.startTime(pid)
    else { return nil }
    let words = command.split(separator: "\0").map(String.init)
    let program = words[0].split(separator: "/").last ?? ""
    let kind: Kind =
      switch (program, words.dropFirst().first) {
      case ("flux-delegate", "agent"): .agent
      case ("flux-delegate", "relay"): .relay
      case ("ssh", _): .ssh
      default: .other
      }
    return Process(pid: pid, startTime: start, kind: kind, command: words.joined(separator: " "))
  }

  /// The 22nd field of `stat`; nil for a process that is not there, or has ended.
  private static func startTime(_ pid: pid_t) -> String? {
    let stat = contents("/proc/\(pid)/stat")
    // The second field is a name in parentheses, which may hold anything.
    guard let end = stat.lastIndex(of: ")") else { return nil }
    let fields = stat[end...].split(separator: " ")
    guard fields.count > 20, fields[1] != "Z", fields[1] != "X" else { return nil }
    return String(fields[20])
  }

  static func contents(_ path: String) -> String {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return "" }
    defer { close(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(file, &buffer, buffer.count)
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer.prefix(count)
    }
  }
}
