// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Glibc

/// An embedded instance in a process of its own, started here: `flux-delegate start --socket`.
struct LocalInstance: Sendable {
  let pid: pid_t
  let uri: FluxURI

  /// Starts it, runs `body` as soon as it answers, and ends it.
  ///
  /// - Parameters:
  ///   - program: the executable.
  ///   - name: of its directory, under the benchmark's own.
  ///   - options: further options of `flux-delegate start`.
  ///   - body: is given the instance, a connection to it, and how long it took until it answered, in seconds.
  static func with<Result: Sendable>(
    _ program: String, name: String, options: [String] = [],
    _ body: @escaping @Sendable (LocalInstance, FluxConnection, Double) async throws -> Result
  ) async throws -> Result {
    let path = "\(directory)/\(name)/local"
    mkdir(directory, 0o700)
    mkdir("\(directory)/\(name)", 0o700)
    let start = ContinuousClock.now
    let pid = try spawn(program, ["start", "--socket", path] + options)
    defer {
      kill(pid, SIGTERM)
      var status: CInt = 0
      waitpid(pid, &status, 0)
    }
    let instance = LocalInstance(pid: pid, uri: FluxURI(local: path))
    while ContinuousClock.now - start < .seconds(60) {
      do {
        return try await FluxConnection.withConnection(to: instance.uri, logger: DelegateBenchmark.logger) {
          connection in
          _ = try await connection.rpc("attr.get", ["name": "size"])
          let time = DelegateBenchmark.seconds(ContinuousClock.now - start)
          return try await body(instance, connection, time)
        }
      } catch let error as ConnectionError where error.code == .noSocket { usleep(500) }
    }
    DelegateBenchmark.say("\(program) start: no answer within 60 s")
    exit(1)
  }

  /// Where everything of this run is.
  static let directory = "/tmp/fd-bench-\(getpid())"

  /// Removes it.
  static func clean() throws {
    _ = try run("/bin/rm", ["-rf", directory])
  }

  /// Runs a process to its end, without what it prints. Returns its wait status.
  static func run(_ program: String, _ words: [String]) throws -> CInt {
    let pid = try spawn(program, words, isQuiet: true)
    var status: CInt = 0
    waitpid(pid, &status, 0)
    return status
  }

  /// Starts a process whose standard output goes nowhere, and its warnings neither, if it is wanted.
  static func spawn(_ program: String, _ words: [String], isQuiet: Bool = false) throws -> pid_t {
    var pid: pid_t = 0
    var arguments: [UnsafeMutablePointer<CChar>?] = ([program] + words).map { strdup($0) }
    arguments.append(nil)
    defer { for argument in arguments { free(argument) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    if isQuiet { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
    defer { posix_spawn_file_actions_destroy(&actions) }
    guard posix_spawn(&pid, program, &actions, nil, &arguments, environ) == 0 else {
      DelegateBenchmark.say("\(program) cannot be started")
      exit(1)
    }
    return pid
  }

  /// The memory that it has, in kB.
  var memory: Double { Origin.resident(pid) }

  /// The processor time that it has used, in seconds (proc(5), utime and stime).
  var processorTime: Double {
    guard let file = fopen("/proc/\(pid)/stat", "r") else { return 0 }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = fread(&bytes, 1, bytes.count, file)
    // The command comes in parentheses, and may have blanks in it.
    let words =
      String(decoding: bytes[..<count], as: UTF8.self).split(separator: ")").last?.split(separator: " ") ?? []
    guard words.count > 12, let user = Double(words[11]), let system = Double(words[12]) else { return 0 }
    return (user + system) / Double(sysconf(CInt(_SC_CLK_TCK)))
  }
}
