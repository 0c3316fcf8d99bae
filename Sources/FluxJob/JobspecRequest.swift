// SPDX-License-Identifier: LGPL-3.0-only

extension Jobspec {
  /// What `flux submit` builds a jobspec from.
  public struct Request: Sendable {
    /// The command and its arguments; at least one word.
    public var command: [String]
    /// The number of nodes (`-N`), nil if the scheduler may choose.
    public var nodes: Int?
    /// The number of tasks (`-n`); nil if not asked: one, or with ``nodes`` one for each node, which is then exclusive.
    public var tasks: Int?
    /// The number of cores of each task (`-c`).
    public var coresPerTask: Int
    /// The number of GPUs of each task (`-g`).
    public var gpusPerTask: Int
    /// Whether the nodes are not shared (`-x`); needs ``nodes``.
    public var exclusive: Bool
    /// The time limit in seconds (`-t`), 0 for none.
    public var duration: Double
    /// The environment of the tasks; if a name occurs twice the last value wins.
    public var environment: [(String, String)]
    /// The absolute path of the working directory, nil to leave it out.
    public var cwd: String?
    /// The name of the job (`--job-name`), nil for the default.
    public var name: String?
    /// The queue (`-q`), nil for the default.
    public var queue: String?
    /// The bank (`-B`), nil for the default.
    public var bank: String?
    /// The options of the job shell (`-o`).
    public var shellOptions: JSONObject
    /// What the job waits for (`--dependency`).
    public var dependencies: [Dependency]
    /// The constraint on the nodes (`--requires`), nil for none.
    public var constraints: Constraint?

    /// A request; what is left out is as in `flux submit`.
    public init(
      command: [String], nodes: Int? = nil, tasks: Int? = nil, coresPerTask: Int = 1, gpusPerTask: Int = 0,
      exclusive: Bool = false, duration: Double = 0, environment: [(String, String)] = [], cwd: String? = nil,
      name: String? = nil, queue: String? = nil, bank: String? = nil, shellOptions: JSONObject = JSONObject(),
      dependencies: [Dependency] = [], constraints: Constraint? = nil
    ) {
      self.command = command
      self.nodes = nodes
      self.tasks = tasks
      self.coresPerTask = coresPerTask
      self.gpusPerTask = gpusPerTask
      self.exclusive = exclusive
      self.duration = duration
      self.environment = environment
      self.cwd = cwd
      self.name = name
      self.queue = queue
      self.bank = bank
      self.shellOptions = shellOptions
      self.dependencies = dependencies
      self.constraints = constraints
    }
  }

  /// The jobspec of a request, with the shapes that `flux submit` writes.
  /// - Throws: ``FormatError`` with code `jobspec` and the text of flux-core: a count out of range, fewer tasks than
  ///   nodes, `exclusive` without nodes, an empty command, or a duration that is negative or not finite.
  public init(_ request: Request) throws(FormatError) {
    let tasks = request.tasks ?? request.nodes ?? 1
    try Self.check(request, tasks: tasks)
    let wholeNodes = request.exclusive || (request.nodes != nil && request.tasks == nil)
    var children: [JSON] = [["type": "core", "count": .int(Int64(request.coresPerTask))]]
    if request.gpusPerTask > 0 { children.append(["type": "gpu", "count": .int(Int64(request.gpusPerTask))]) }
    let nodes = request.nodes ?? 1
    let slotsPerNode = tasks / nodes + (tasks % nodes == 0 ? 0 : 1)
    let slot: JSON = [
      "type": "slot", "count": .int(Int64(slotsPerNode)), "with": .array(children), "label": "task",
    ]
    var resource = slot
    if request.nodes != nil {
      var node: JSONObject = ["type": "node", "count": .int(Int64(nodes))]
      if wholeNodes { node["exclusive"] = true }
      node["with"] = [slot]
      resource = .object(node)
    }
    let count: JSON = tasks % nodes == 0 ? ["per_slot": 1] : ["total": .int(Int64(tasks))]
    try self.init([
      "resources": [resource],
      "tasks": [["command": .array(request.command.map(JSON.string)), "slot": "task", "count": count]],
      "attributes": ["system": .object(Self.system(request))],
      "version": 1,
    ])
  }

  private static func check(_ request: Request, tasks: Int) throws(FormatError) {
    let problems: [(Bool, String)] = [
      (request.command.isEmpty, "command array cannot have length of zero"),
      (request.nodes.map { $0 < 1 } ?? false, "node count must be an integer >= 1 (if set)"),
      (tasks < 1, "task count must be a integer >= 1"),
      (request.coresPerTask < 1, "cores per task must be an integer >= 1"),
      (request.gpusPerTask < 0, "gpus per task must be an integer >= 0"),
      (request.nodes.map { $0 > tasks } ?? false, "node count must not be greater than task count"),
      (request.nodes == nil && request.exclusive, "exclusive can only be set with a node count"),
      (request.duration < 0, "duration must not be negative"),
      (!request.duration.isFinite, "duration must be a normal, finite value"),
    ]
    for (applies, message) in problems where applies { throw FormatError(.jobspec, message) }
  }

  /// The attributes of the system, in the order in which the command line tools write them.
  private static func system(_ request: Request) -> JSONObject {
    var environment = JSONObject()
    for (name, value) in request.environment { environment[name] = .string(value) }
    var system: JSONObject = [
      "duration": request.duration == 0 ? 0 : .double(request.duration), "environment": .object(environment),
    ]
    if let cwd = request.cwd { system["cwd"] = .string(cwd) }
    if let name = request.name { system["job"] = ["name": .string(name)] }
    if !request.shellOptions.isEmpty { system["shell"] = ["options": .object(request.shellOptions)] }
    if let queue = request.queue { system["queue"] = .string(queue) }
    if let bank = request.bank { system["bank"] = .string(bank) }
    if !request.dependencies.isEmpty { system["dependencies"] = .array(request.dependencies.map(\.json)) }
    if let constraints = request.constraints { system["constraints"] = constraints.json }
    return system
  }
}

extension Jobspec.Request: Hashable {
  /// Whether all parts are equal.
  public static func == (left: Jobspec.Request, right: Jobspec.Request) -> Bool {
    left.fields == right.fields
  }

  /// Feeds all parts.
  public func hash(into hasher: inout Hasher) { hasher.combine(fields) }

  /// The same request with an environment that can be compared.
  private var fields: Fields {
    Fields(
      command: command, counts: [nodes, tasks, coresPerTask, gpusPerTask], exclusive: exclusive, duration: duration,
      environment: environment.map { [$0.0, $0.1] }, texts: [cwd, name, queue, bank], shellOptions: shellOptions,
      dependencies: dependencies, constraints: constraints)
  }

  private struct Fields: Hashable {
    var command: [String]
    var counts: [Int?]
    var exclusive: Bool
    var duration: Double
    var environment: [[String]]
    var texts: [String?]
    var shellOptions: JSONObject
    var dependencies: [Dependency]
    var constraints: Constraint?
  }
}
