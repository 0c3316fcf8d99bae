// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// Makes the jobspec that Flux's command line would make of the same options.
struct SubmissionBuilder {
  /// The options.
  var options: SubmissionOptions
  /// The job's command and its arguments.
  var command: [String]
  /// What FLUX_JOB_CC is set to, with --cc.
  var copy: Int?
  /// Where the environment and the working directory come from.
  var context: CommandContext

  /// The jobspec.
  func jobspec() throws -> JSON {
    guard !command.isEmpty else { throw CommandFailure("job command and arguments are missing") }
    let rules = try environmentRules()
    var environment = rules.variables
    if let copy { environment["FLUX_JOB_CC"] = String(copy) }
    var request = Jobspec.Request(
      command: command, environment: environment.sorted { $0.key < $1.key }.map { ($0.key, $0.value) },
      cwd: options.cwd ?? context.workingDirectory)
    try setCounts(&request)
    var json = try Jobspec(request).json
    try setOptions(&json, templates: rules.templates)
    return json
  }

  private func setCounts(_ request: inout Jobspec.Request) throws {
    request.nodes = try count("nodes", options.nodes)
    request.exclusive = options.exclusive
    if let tasks = try count("ntasks", options.tasks) {
      request.tasks = tasks
    } else if let nodes = request.nodes {
      // As Flux: with nodes alone, a task on each and the whole node to it.
      request.tasks = nodes
      request.exclusive = true
    }
    request.coresPerTask = try count("cores-per-task", options.coresPerTask) ?? 1
    request.gpusPerTask = try count("gpus-per-task", options.gpusPerTask) ?? 0
    request.duration = try duration()
  }

  private func count(_ name: String, _ text: String?) throws -> Int? {
    guard let text else { return nil }
    guard let value = Int(text) else { throw CommandFailure("--\(name): invalid int value '\(text)'") }
    return value == 0 ? nil : value
  }

  /// Minutes when it is a bare number, else Flux standard duration.
  private func duration() throws -> Double {
    guard let text = options.timeLimit else { return 0 }
    if let minutes = Double(text), minutes.isFinite { return minutes * 60 }
    do { return try StandardDuration(parsing: text).seconds } catch {
      throw CommandFailure("--time-limit: '\(text)': \(error.message)")
    }
  }

  private func environmentRules() throws -> EnvironmentRules {
    var rules = EnvironmentRules(caller: context.environment)
    for pattern in options.envRemove { try rules.apply("-" + pattern) }
    for rule in options.env { try rules.apply(rule) }
    return rules
  }

  private func setOptions(_ json: inout JSON, templates: [String: String]) throws {
    if let name = options.jobName { set("job.name", .string(name), in: &json) }
    if let input = options.input, (try? IDSet(parsing: input)) == nil { setFile("input.stdin", input, in: &json) }
    try setOutput(&json)
    if let queue = options.queue { set("queue", .string(queue), in: &json) }
    if let bank = options.bank { set("bank", .string(bank), in: &json) }
    if !templates.isEmpty {
      var object = JSONObject()
      for (name, value) in templates.sorted(by: { $0.key < $1.key }) { object[name] = .string(value) }
      setShell("env-expand", .object(object), in: &json)
    }
    let limits = try ResourceLimits.option(rules: options.rlimit)
    if !limits.isEmpty { setShell("rlimit", .object(limits), in: &json) }
    if !options.dependency.isEmpty {
      set("dependencies", .array(try options.dependency.map { try Dependency(parsing: $0).json }), in: &json)
    }
    if !options.requires.isEmpty {
      set("constraints", try constraint(), in: &json)
    }
    for text in options.setopt {
      let (key, value) = try KeyValue.parse(text, label: "--setopt")
      setShell(key, value, in: &json)
    }
    for text in options.setattr {
      let (key, value) = try KeyValue.parse(text, label: "--setattr")
      set(key, value, in: &json)
    }
  }

  private func constraint() throws -> JSON {
    let query = options.requires.joined(separator: " ")
    do { return try Constraint(parsingQuery: query).json } catch {
      throw CommandFailure("--requires='\(query)': \(error)")
    }
  }

  private func setOutput(_ json: inout JSON) throws {
    for (stream, path) in [("stdout", options.output), ("stderr", options.error)] {
      guard let path, path != "none", path != "kvs" else { continue }
      setFile("output.\(stream)", path, in: &json)
      if options.labelIO { setShell("output.\(stream).label", true, in: &json) }
    }
    guard options.unbuffered else { return }
    setShell("output.stdout.buffer.type", "none", in: &json)
    setShell("output.stderr.buffer.type", "none", in: &json)
    setShell("output.batch-timeout", 0.05, in: &json)
    setShell("input.batch-timeout", 0.0, in: &json)
  }

  private func setFile(_ stream: String, _ path: String, in json: inout JSON) {
    setShell("\(stream).type", "file", in: &json)
    setShell("\(stream).path", .string(path), in: &json)
  }

  private func setShell(_ key: String, _ value: JSON, in json: inout JSON) {
    set("system.shell.options." + key, value, in: &json)
  }

  /// Sets an attribute: a bare key is one of `system`, a leading dot means the top of the attributes.
  private func set(_ key: String, _ value: JSON, in json: inout JSON) {
    let path =
      if key.hasPrefix("attributes.") { key } else if key.hasPrefix(".") {
        "attributes" + key
      } else if key.hasPrefix(
        "user.") || key.hasPrefix("system.")
      {
        "attributes." + key
      } else { "attributes.system." + key }
    json.set(path: path, to: value)
  }
}
