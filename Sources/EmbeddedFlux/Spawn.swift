// SPDX-License-Identifier: LGPL-3.0-only

import CSpawn
import Glibc

/// Starts one process; what cannot be started is an errno, as a shell would see it.
struct Spawn {
  var command: [String]
  var environment: [String: String]
  var directory: String?
  var hostname: String?
  var input: CInt
  var output: CInt
  var error: CInt
  /// What becomes descriptor 3; -1 is nothing.
  var extra: CInt = -1
  /// Whether the three are its controlling terminal, and it begins a session.
  var isOnTerminal = false
  var limits: [ShellOptions.Limit] = []

  /// What is wrong with a process that could not be started.
  struct Failure: Error {
    var errnum: CInt
  }

  /// - Returns: the process id.
  func run() throws(Failure) -> pid_t {
    guard let name = command.first, let path = find(name) else { throw Failure(errnum: ENOENT) }
    let argv = command.map { strdup($0) } + [nil]
    let envp = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for pointer in argv + envp { free(pointer) } }
    let limits = limits.map { cspawn_limit(resource: $0.resource, value: $0.value) }
    var errnum: CInt = 0
    let pid = path.withCString { path in
      withOptional(directory) { directory in
        withOptional(hostname) { hostname in
          "/tmp".withCString { fallback in
            argv.withUnsafeBufferPointer { argv in
              envp.withUnsafeBufferPointer { envp in
                limits.withUnsafeBufferPointer { limits in
                  var request = cspawn_request(
                    path: path, argv: argv.baseAddress, envp: envp.baseAddress, cwd: directory,
                    fallback_cwd: fallback, hostname: hostname, fd_in: input, fd_out: output, fd_err: error,
                    fd_extra: extra, limits: limits.baseAddress, limit_count: CInt(limits.count),
                    own_session: isOnTerminal ? 1 : 0, controlling_terminal: isOnTerminal ? 1 : 0)
                  return cspawn(&request, &errnum)
                }
              }
            }
          }
        }
      }
    }
    guard pid > 0 else { throw Failure(errnum: errnum) }
    return pid
  }

  private func withOptional<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return text.withCString { body($0) }
  }

  /// Looks a program up in the job's own PATH, as `execvp` would.
  private func find(_ name: String) -> String? {
    if name.contains("/") { return name }
    for directory in (environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin").split(separator: ":") {
      let path = "\(directory)/\(name)"
      if access(path, X_OK) == 0 { return path }
    }
    return nil
  }
}

/// A pipe: what is written to `write` is read from `read`. Both are closed on exec.
struct Pipe {
  let read: CInt
  let write: CInt

  init() throws(Spawn.Failure) {
    var ends: [CInt] = [-1, -1]
    guard cspawn_pipe(&ends) == 0 else { throw Spawn.Failure(errnum: errno) }
    read = ends[0]
    write = ends[1]
  }
}
