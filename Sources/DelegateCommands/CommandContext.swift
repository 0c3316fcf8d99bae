// SPDX-License-Identifier: LGPL-3.0-only

public import Logging
import FluxConnection
import FluxJob
import Glibc

/// What a verb takes from outside: its environment, where it writes, and what it is attached to. Tests give it another
/// one.
public struct CommandContext: Sendable {
  /// The context of the verb that runs in this task.
  @TaskLocal public static var current = CommandContext.process

  /// The environment.
  public var environment: [String: String]
  /// Standard output.
  public var output: CommandOutput
  /// Standard error.
  public var errorOutput: CommandOutput
  /// The file descriptor that is read as standard input.
  public var input: CInt
  /// Whether standard input, output and error are terminals.
  public var terminals: Terminals
  /// Where connections log.
  public var logger: Logger

  /// Which of the standard streams are terminals.
  public struct Terminals: Sendable {
    /// Standard input is.
    public var input: Bool
    /// Standard output is.
    public var output: Bool
    /// Standard error is.
    public var error: Bool

    /// Says which are.
    public init(input: Bool = false, output: Bool = false, error: Bool = false) {
      self.input = input
      self.output = output
      self.error = error
    }
  }

  /// A context from its parts.
  public init(
    environment: [String: String], output: CommandOutput, errorOutput: CommandOutput, input: CInt = 0,
    terminals: Terminals = Terminals(),
    logger: Logger = Logger(label: "flux-delegate") { _ in SwiftLogNoOpLogHandler() }
  ) {
    self.environment = environment
    self.output = output
    self.errorOutput = errorOutput
    self.input = input
    self.terminals = terminals
    self.logger = logger
  }

  /// This process's own.
  public static let process = CommandContext(
    environment: processEnvironment(), output: .descriptor(1), errorOutput: .descriptor(2), input: 0,
    terminals: Terminals(input: isatty(0) == 1, output: isatty(1) == 1, error: isatty(2) == 1))

  private static func processEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      next += 1
      guard let equals = text.firstIndex(of: "=") else { continue }
      result[String(text[..<equals])] = String(text[text.index(after: equals)...])
    }
    return result
  }
}

extension CommandContext {
  /// A variable of the environment; nil when it is unset or empty.
  func variable(_ name: String) -> String? {
    environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  /// Whether Flux would print job ids with `ƒ`: the locale is UTF-8, and FLUX_F58_FORCE_ASCII is not set.
  var printsUnicode: Bool {
    if environment["FLUX_F58_FORCE_ASCII"] != nil { return false }
    let locale = variable("LC_ALL") ?? variable("LC_CTYPE") ?? variable("LANG") ?? "C"
    let codeset = locale.lowercased()
    return codeset.contains("utf-8") || codeset.contains("utf8")
  }

  /// A job id as Flux prints it.
  func text(of id: JobID) -> String { id.encoded(printsUnicode ? .f58 : .f58plain) }

  /// Whether to print colours, as Flux's option --color says.
  ///
  /// - Parameter when: `always`, `never`, `auto`, or nil when the option was not given.
  func usesColor(_ when: String?) throws -> Bool {
    switch when {
    case "always": return true
    case "never": return false
    case "auto": return terminals.output
    case nil: return variable("NO_COLOR") == nil && terminals.output
    case let other?: throw CommandFailure("Invalid argument to --color: '\(other)'; write always, never or auto")
    }
  }

  /// The working directory.
  var workingDirectory: String {
    guard let path = getcwd(nil, 0) else { return "/" }
    defer { free(path) }
    return String(cString: path)
  }

  /// Connects to the instance that the options or FLUX_URI name, and runs `body`.
  func withConnection<Result: Sendable>(
    _ options: ConnectionOptions, _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    try await withConnection(to: options.resolved(in: self), body)
  }

  /// Connects to `uri` and runs `body`.
  func withConnection<Result: Sendable>(
    to uri: FluxURI, _ body: @escaping @Sendable (FluxConnection) async throws -> Result
  ) async throws -> Result {
    try await FluxConnection.withConnection(to: uri, configuration: connectionConfiguration, logger: logger, body)
  }

  /// How long an answer may be: a job's whole output comes in one, of `flux job info ID guest.output`.
  private static let maximumMessageLength = 1 << 30

  /// Requests wait for ever, as those of Flux's commands: the user has Ctrl-C.
  var connectionConfiguration: FluxConnection.Configuration {
    var configuration = FluxConnection.Configuration()
    configuration.maximumMessageLength = Self.maximumMessageLength
    configuration.requestTimeout = .zero
    configuration.environment = environment
    return configuration
  }
}
