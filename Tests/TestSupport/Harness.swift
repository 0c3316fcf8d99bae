// SPDX-License-Identifier: LGPL-3.0-only

import Glibc
import Subprocess
import SystemPackage
import Testing

/// What a command printed, and how it ended.
package struct Output: Sendable, CustomStringConvertible {
  package var code: Int32
  package var out: String
  package var err: String

  package init(code: Int32, out: String, err: String) {
    self.code = code
    self.out = out
    self.err = err
  }

  package var lines: [String] { out.split(separator: "\n").map(String.init) }
  package var description: String { "exit \(code)\n\(out)\(err)" }
}

/// Which instance a test runs on.
package enum Host: String, CaseIterable, Sendable, CustomStringConvertible {
  /// `flux-delegate start`, with the verbs of flux-delegate.
  case embedded
  /// A real Flux, with Flux's own commands.
  case flux
  /// A real Flux, with the verbs of flux-delegate.
  case fluxWithOurVerbs

  package var description: String { rawValue }

  /// The program whose verbs are used.
  package var program: String { self == .flux ? "flux" : Build.executable }

  /// The command that starts an instance with two nodes and runs what follows in it.
  package func start(name: String, nodes: Int = 2) -> [String] {
    switch self {
    case .embedded: [Build.executable, "start", "--name", name, "-N\(nodes)", "-c2"]
    case .flux, .fluxWithOurVerbs: ["flux", "start", "-s\(nodes)"]
    }
  }

  /// The hosts that this machine has. A real Flux is used where `flux` is on PATH.
  package static var available: [Host] { Flux.isThere ? allCases : [.embedded] }
}

package enum Flux {
  /// Whether a real Flux is on PATH.
  package static let isThere = find("flux") != nil

  package static func find(_ program: String) -> String? {
    let path = getenv("PATH").map { String(cString: $0) } ?? ""
    let directories: [String] = path.split(separator: ":").map(String.init) + ["/usr/sbin"]
    return directories.map { $0 + "/" + program }.first { access($0, X_OK) == 0 }
  }
}

/// The executable and the plugin under test, side by side under the names that they are used by.
package enum Build {
  package static let directory: String = {
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
    let real = realpath(bundle, nil)
    defer { free(real) }
    let products = (real.map { String(cString: $0) } ?? bundle).split(separator: "/").dropLast().joined(separator: "/")
    let directory = "/\(products)/under-test-\(getpid())"
    mkdir(directory, 0o755)
    atexit { Build.remove() }
    symlink("/\(products)/flux-delegate", "\(directory)/flux-delegate")
    symlink("/\(products)/libdelegate.so", "\(directory)/delegate.so")
    return directory
  }()

  package static var executable: String { "\(directory)/flux-delegate" }
  package static var plugin: String { "\(directory)/delegate.so" }

  private static func remove() {
    for name in ["flux-delegate", "delegate.so"] { unlink("\(directory)/\(name)") }
    rmdir(directory)
  }
}

/// Runs a command to its end, within a limit; a command that takes longer is killed and has the code -1.
package func run(
  _ words: [String], uri: String? = nil, environment: [String: String] = [:], input: String = "",
  within limit: Duration = .seconds(240)
) async throws -> Output {
  var variables: [Subprocess.Environment.Key: String?] = ["FLUX_URI": uri]
  for (key, value) in environment { variables[Subprocess.Environment.Key(rawValue: key) ?? "X"] = value }
  let executable: Executable = words[0].contains("/") ? .path(FilePath(words[0])) : .name(words[0])
  let configuration = Configuration(
    executable: executable, arguments: Arguments(Array(words.dropFirst())),
    environment: .inherit.updating(variables))
  return try await withThrowingTaskGroup(of: Output?.self) { group in
    group.addTask {
      let result = try await Subprocess.run(
        configuration, input: .string(input), output: .string(limit: 16 << 20), error: .string(limit: 1 << 20))
      let code: Int32 =
        switch result.terminationStatus {
        case .exited(let code): code
        case .signaled(let number): 128 + number
        }
      return Output(code: code, out: result.standardOutput, err: result.standardError)
    }
    group.addTask {
      try await Task.sleep(for: limit)
      return nil
    }
    defer { group.cancelAll() }
    let first = try await group.next() ?? nil
    return first ?? Output(code: -1, out: "", err: "\(words) took longer than \(limit)")
  }
}

/// Asks until the answer satisfies, for at most two minutes unless it is said otherwise. Returns the last answer.
package func eventually(
  within limit: Duration = .seconds(120), _ ask: () async throws -> Output, until isGood: (Output) -> Bool
) async throws -> Output {
  var answer = try await ask()
  let end = ContinuousClock.now + limit
  while !isGood(answer), ContinuousClock.now < end {
    try await Task.sleep(for: .milliseconds(100))
    answer = try await ask()
  }
  return answer
}

/// A running instance.
package struct Instance: Sendable {
  package let host: Host
  package let uri: String
  /// What it runs as: a process id to stop or kill.
  package let pid: pid_t

  package init(host: Host, uri: String, pid: pid_t) {
    self.host = host
    self.uri = uri
    self.pid = pid
  }

  /// Runs a verb of the host's program on the instance.
  package func callAsFunction(_ words: String..., environment: [String: String] = [:], input: String = "") async throws
    -> Output
  {
    try await run([host.program] + words, uri: uri, environment: environment, input: input)
  }
}

extension Instance {
  /// The process id of the attached agent, as the plugin tells it.
  package func agent() async throws -> pid_t {
    let query = try await eventually {
      try await run([Build.executable, "jobtap", "query", "delegate.so"], uri: uri)
    } until: {
      $0.out.contains("\"pid\"") && $0.out.contains("\"attached\":true")
    }
    let digits = query.out.split(separator: "\"pid\":").last?.prefix { $0.isNumber } ?? ""
    return try #require(pid_t(digits), "\(query)")
  }
}

/// Starts an instance, runs `body`, and stops the instance.
package func withInstance<Result: Sendable>(
  _ host: Host, name: String, nodes: Int = 2, environment: [String: String] = [:],
  _ body: @Sendable @escaping (Instance) async throws -> Result
) async throws -> Result {
  try await withInstance(host, command: host.start(name: name, nodes: nodes), environment: environment, body)
}

/// The same with the command that starts it.
package func withInstance<Result: Sendable>(
  _ host: Host, command: [String], environment: [String: String] = [:],
  _ body: @Sendable @escaping (Instance) async throws -> Result
) async throws -> Result {
  let words = command + ["sh", "-c", "echo $FLUX_URI; exec cat"]
  let executable: Executable = words[0].contains("/") ? .path(FilePath(words[0])) : .name(words[0])
  var variables: [Subprocess.Environment.Key: String?] = ["FLUX_URI": nil]
  for (key, value) in environment { variables[Subprocess.Environment.Key(rawValue: key) ?? "X"] = value }
  let configuration = Configuration(
    executable: executable, arguments: Arguments(Array(words.dropFirst())), environment: .inherit.updating(variables))
  // Its standard input stays open until the body is done; then its command ends, and the instance with it.
  let result = try await Subprocess.run(configuration, input: .inputWriter, output: .sequence, error: .discarded) {
    execution in
    var uri = ""
    for try await line in execution.standardOutput.strings() {
      uri = line.trimmed
      break
    }
    let instance = Instance(host: host, uri: uri, pid: execution.processIdentifier.value)
    let outcome: Swift.Result<Result, any Error>
    do { outcome = .success(try await body(instance)) } catch { outcome = .failure(error) }
    try await execution.standardInputWriter.finish()
    return outcome
  }
  return try result.closureResult.get()
}

extension String {
  package var trimmed: String {
    var text = self[...]
    while let last = text.last, last.isWhitespace { text.removeLast() }
    while let first = text.first, first.isWhitespace { text.removeFirst() }
    return String(text)
  }
}

/// How many descriptors a process has open.
package func descriptors(_ pid: pid_t) throws -> Int {
  guard let directory = opendir("/proc/\(pid)/fd") else { return 0 }
  defer { closedir(directory) }
  var count = 0
  while readdir(directory) != nil { count += 1 }
  return count
}

/// Whether tasks can be given the names of their virtual nodes.
package let canNameHosts = geteuid() == 0

/// This process's PATH.
package let currentPath = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
