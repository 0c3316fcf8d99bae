// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Testing

@Suite struct JobspecTests {
  /// Request and the resources and count of tasks that `flux submit --dry-run` of flux-core 0.88 writes for it.
  static let shapes: [(Jobspec.Request, String, String)] = [
    (
      .init(command: ["true"], tasks: 1),
      #"[{"type":"slot","count":1,"with":[{"type":"core","count":1}],"label":"task"}]"#, #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 5),
      #"[{"type":"node","count":5,"exclusive":true,"with":[{"type":"slot","count":1,"with":[{"type":"core","count":1}],"#
        + #""label":"task"}]}]"#, #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 2, tasks: 4, coresPerTask: 2, gpusPerTask: 1),
      #"[{"type":"node","count":2,"with":[{"type":"slot","count":2,"with":[{"type":"core","count":2},"#
        + #"{"type":"gpu","count":1}],"label":"task"}]}]"#, #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 2, tasks: 3),
      #"[{"type":"node","count":2,"with":[{"type":"slot","count":2,"with":[{"type":"core","count":1}],"label":"task"}]}]"#,
      #"{"total":3}"#
    ),
    (
      .init(command: ["true"], tasks: 4, coresPerTask: 2, gpusPerTask: 1),
      #"[{"type":"slot","count":4,"with":[{"type":"core","count":2},{"type":"gpu","count":1}],"label":"task"}]"#,
      #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 2, tasks: 4, exclusive: true),
      #"[{"type":"node","count":2,"exclusive":true,"with":[{"type":"slot","count":2,"with":[{"type":"core","count":1}],"#
        + #""label":"task"}]}]"#, #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 1, tasks: 1),
      #"[{"type":"node","count":1,"with":[{"type":"slot","count":1,"with":[{"type":"core","count":1}],"label":"task"}]}]"#,
      #"{"per_slot":1}"#
    ),
    (
      .init(command: ["true"], nodes: 2, coresPerTask: 2),
      #"[{"type":"node","count":2,"exclusive":true,"with":[{"type":"slot","count":1,"with":[{"type":"core","count":2}],"#
        + #""label":"task"}]}]"#, #"{"per_slot":1}"#
    ),
  ]

  @Test(arguments: shapes)
  func shape(request: Jobspec.Request, resources: String, count: String) throws {
    let jobspec = try Jobspec(request)
    #expect(jobspec.json["resources"]?.text == resources)
    #expect(jobspec.json["tasks"]?[0]?["count"]?.text == count)
    #expect(jobspec.nodeCount == request.nodes && jobspec.taskCount == request.tasks ?? request.nodes ?? 1)
    #expect(jobspec.coresPerSlot == request.coresPerTask && jobspec.gpusPerSlot == request.gpusPerTask)
    #expect(jobspec.exclusive == (request.exclusive || (request.nodes != nil && request.tasks == nil)))
    #expect(jobspec.slotCount >= jobspec.taskCount)
    #expect(try Jobspec(parsing: jobspec.json.text) == jobspec)
  }

  @Test func wholeDocument() throws {
    let jobspec = try Jobspec(
      .init(
        command: ["/bin/echo", "x"], duration: 300, environment: [("A", "1"), ("B", ""), ("A", "2")], cwd: "/tmp",
        name: "n",
        queue: "q", bank: "b", shellOptions: ["verbose": 1],
        dependencies: [try Dependency(parsing: "afterok:f1?x=1")], constraints: .properties(["p"])))
    #expect(
      jobspec.json.text
        == #"{"resources":[{"type":"slot","count":1,"with":[{"type":"core","count":1}],"label":"task"}],"#
        + #""tasks":[{"command":["/bin/echo","x"],"slot":"task","count":{"per_slot":1}}],"attributes":{"system":{"#
        + #""duration":300.0,"environment":{"A":"2","B":""},"cwd":"/tmp","job":{"name":"n"},"shell":{"options":{"verbose":1}},"#
        + #""queue":"q","bank":"b","dependencies":[{"scheme":"afterok","value":"f1","x":1}],"#
        + #""constraints":{"properties":["p"]}}},"version":1}"#)
    #expect(jobspec.command == ["/bin/echo", "x"] && jobspec.duration == 300 && jobspec.cwd == "/tmp")
    #expect(jobspec.environment == ["A": "2", "B": ""] && jobspec.name == "n" && jobspec.queue == "q")
    #expect(jobspec.dependencies.map(\.scheme) == ["afterok"] && jobspec.constraints == .properties(["p"]))
    #expect(jobspec.shellOptions == ["verbose": 1])
  }

  @Test func defaults() throws {
    let jobspec = try Jobspec(.init(command: ["/usr/bin/env"]))
    #expect(jobspec.name == "env" && jobspec.duration == 0 && jobspec.cwd == nil && jobspec.queue == nil)
    #expect(jobspec.dependencies.isEmpty && jobspec.constraints == nil && jobspec.shellOptions == nil)
    #expect(jobspec.nodeCount == nil && jobspec.slotCount == 1 && jobspec.taskCount == 1 && !jobspec.exclusive)
    #expect(jobspec.json["attributes"]?["system"]?.text == #"{"duration":0,"environment":{}}"#)
    #expect(try Jobspec(.init(command: ["a/"])).name == "" && Jobspec(.init(command: ["a"])).name == "a")
  }

  static let badRequests: [(Jobspec.Request, String)] = [
    (.init(command: []), "command array cannot have length of zero"),
    (.init(command: ["x"], nodes: 3, tasks: 2), "node count must not be greater than task count"),
    (.init(command: ["x"], nodes: 0), "node count must be an integer >= 1 (if set)"),
    (.init(command: ["x"], tasks: 0), "task count must be a integer >= 1"),
    (.init(command: ["x"], tasks: .min), "task count must be a integer >= 1"),
    (.init(command: ["x"], coresPerTask: 0), "cores per task must be an integer >= 1"),
    (.init(command: ["x"], gpusPerTask: -1), "gpus per task must be an integer >= 0"),
    (.init(command: ["x"], exclusive: true), "exclusive can only be set with a node count"),
    (.init(command: ["x"], duration: -1), "duration must not be negative"),
    (.init(command: ["x"], duration: .infinity), "duration must be a normal, finite value"),
    (.init(command: ["x"], duration: .nan), "duration must be a normal, finite value"),
  ]

  @Test(arguments: badRequests)
  func rejectsRequest(request: Jobspec.Request, message: String) {
    #expect { try Jobspec(request) } throws: { error in
      (error as? FormatError)?.message == message && (error as? FormatError)?.code == .jobspec
    }
  }

  @Test func requestsCompare() {
    let request = Jobspec.Request(command: ["x"], environment: [("A", "1")])
    var other = request
    #expect(request == other && request.hashValue == other.hashValue)
    other.environment[0].1 = "2"
    #expect(request != other)
  }

  @Test func hugeCounts() throws {
    var jobspec = try Jobspec(.init(command: ["x"], nodes: 2, tasks: 4))
    jobspec.json.set(
      path: "resources",
      to: [
        [
          "type": "node", "count": .int(.max),
          "with": [
            ["type": "slot", "count": .int(.max), "label": "task", "with": [["type": "core", "count": .int(.max)]]]
          ],
        ]
      ])
    #expect(jobspec.nodeCount == .max && jobspec.slotCount == .max && jobspec.taskCount == .max)
    #expect(jobspec.coresPerSlot == .max)
    #expect(throws: Never.self) { try Jobspec(.init(command: ["x"], nodes: .max, tasks: .max, coresPerTask: .max)) }
    jobspec.json = 1
    #expect(jobspec.command.isEmpty && jobspec.slotCount == 0 && jobspec.name == "" && jobspec.nodeCount == nil)
  }
}

@Suite struct JobspecValidationTests {
  static let good =
    #"{"resources":[{"type":"slot","count":1,"with":[{"type":"core","count":1}],"label":"task"}],"tasks":"#
    + #"[{"command":["true"],"slot":"task","count":{"per_slot":1}}],"attributes":{"system":{"duration":0}},"version":1}"#

  /// A path, the value to put there (nil removes it), and the text of flux-core.
  static let defects: [(String, JSON?, String)] = [
    ("version", nil, "Missing key (version)"), ("attributes", nil, "Missing key (attributes)"),
    ("tasks", nil, "Missing key (tasks)"), ("resources", nil, "Missing key (resources)"),
    ("version", 2, "version must be 1"),
    ("version", "1", "version must be 1"), ("version", 1.0, "version must be 1"),
    ("attributes.system.duration", nil, "attributes.system.duration is a required key"),
    ("attributes.system.duration", "1", "attributes.system.duration must be a number"),
    ("attributes.system.duration", true, "attributes.system.duration must be a number"),
    ("tasks.0.command", [], "command array cannot have length of zero"),
    ("tasks.0.command", "x", "command must be a list of strings"),
    ("tasks.0.command", [1], "command must be a list of strings"),
    ("tasks.0.command", nil, "Missing key (command)"), ("tasks.0.slot", nil, "Missing key (slot)"),
    ("tasks.0.slot", 1, "slot must be a string"), ("tasks.0.count", 1, "count must be a mapping"),
    ("tasks.0.count", [:], "count must have exactly one key set"),
    ("tasks.0.count", ["x": 1], "count per_slot or total must be set"),
    ("tasks.0.count", ["total": 0], "count total must be > 0"),
    ("tasks.0.count", ["per_slot": "1"], "count per_slot must be an int"),
    ("resources.0.label", nil, "slots must have labels"), ("resources.0.label", 1, "label must be a string"),
    ("resources.0.count", 0, "node, slot, or core count must be > 0"),
    ("resources.0.with.0.count", 0, "node, slot, or core count must be > 0"),
    ("resources.0.with.0.count", 1.5, "count must be an int or mapping"),
    ("resources.0.count", nil, "count is a required key for resources"),
    ("resources.0.type", nil, "type is a required key for resources"),
    ("resources.0.type", 1, "type must be a string"), ("resources.0.exclusive", 2, "exclusive must be a boolean"),
    ("resources", [1], "resource must be a mapping"), ("resources", [:], "resources must be a sequence"),
    ("tasks", [:], "tasks must be a sequence"), ("tasks", [1], "task must be a mapping"),
    ("attributes", [], "attributes must be a mapping"),
    ("foo", 1, "Extraneous key (foo)"), ("attributes.foo", 1, "Extraneous key (foo)"),
    ("attributes.system", nil, "attributes.system is a required key"),
    ("attributes.system", 1, "attributes.system must be a mapping"),
    ("attributes.system.constraints", 1, "constraints must be a mapping"),
    ("attributes.system.constraints", ["foo": []], "unknown constraint operator 'foo'"),
    ("attributes.system.constraints", ["properties": ["a|b"]], "invalid character in property 'a|b'"),
    ("attributes.system.dependencies", [:], "attributes.system.dependencies must be a list"),
    ("attributes.system.dependencies", [["value": "x"]], "Missing key (scheme)"),
    ("attributes.system.dependencies", [["scheme": "x"]], "Missing key (value)"),
  ]

  @Test(arguments: defects)
  func rejects(path: String, value: JSON?, message: String) throws {
    let json = try JSON(parsing: Self.good).replacing(path.split(separator: ".").map(String.init)[...], with: value)
    #expect { try Jobspec(json) } throws: { error in
      (error as? FormatError)?.message == message && (error as? FormatError)?.code == .jobspec
    }
  }

  /// What flux-core's validator accepts although it fails later.
  static let accepted: [(String, JSON?)] = [
    ("attributes.system.duration", -1), ("attributes.system.duration", 1.5), ("resources.0.type", "foo"),
    ("tasks.0.slot", "other"), ("attributes.system.environment", 1), ("attributes.system.shell", 1),
    ("attributes.user", ["x": 1]),
    ("resources.0.with.0.type", "foo"), ("attributes.system.constraints", [:]), ("attributes.system.dependencies", []),
  ]

  @Test(arguments: accepted)
  func accepts(path: String, value: JSON?) throws {
    let json = try JSON(parsing: Self.good).replacing(path.split(separator: ".").map(String.init)[...], with: value)
    #expect(try Jobspec(json).json == json)
  }

  @Test func rejectsWhatIsNoJSONObject() {
    for text in ["", "[]", "1", "version: 1\n", "{"] {
      #expect { try Jobspec(parsing: text) } throws: { ($0 as? FormatError)?.code == .jobspec }
    }
  }

  @Test func deepResourcesAreErrors() throws {
    var vertex: JSON = ["type": "core", "count": 1]
    for _ in 0..<200 { vertex = ["type": "node", "count": 1, "with": [vertex]] }
    var json = try JSON(parsing: Self.good)
    json["resources"] = [vertex]
    #expect(throws: FormatError.self) { try Jobspec(json) }
  }

  @Test func setsAttributes() throws {
    var jobspec = try Jobspec(parsing: Self.good)
    jobspec.set(attribute: "delegate", to: "a")
    #expect(jobspec.json.value(at: "attributes.system.delegate") == "a")
    jobspec.set(attribute: "system.delegate", to: "b")
    #expect(jobspec.json.value(at: "attributes.system.delegate") == "b")
    jobspec.set(attribute: "user.x.y", to: 2)
    jobspec.set(attribute: ".y.z", to: 3)
    jobspec.set(attribute: "attributes.foo.b", to: 4)
    jobspec.set(attribute: "v", to: 1)
    #expect(
      jobspec.json["attributes"]?.text
        == #"{"system":{"duration":0,"delegate":"b","v":1},"user":{"x":{"y":2}},"y":{"z":3},"foo":{"b":4}}"#)
  }

  @Test func removesDependencies() throws {
    var jobspec = try Jobspec(parsing: Self.good)
    let before = jobspec
    jobspec.removeDependencies()
    #expect(jobspec == before)
    jobspec.set(attribute: "dependencies", to: [["scheme": "a", "value": "b"]])
    #expect(jobspec.dependencies == [Dependency(scheme: "a", value: "b")])
    jobspec.removeDependencies()
    #expect(jobspec == before && jobspec.json.text == Self.good)
  }

  @Test func keepsUnknownKeys() throws {
    var json = try JSON(parsing: Self.good)
    json.set(path: "attributes.system.x-new", to: ["deep": [1, nil]])
    #expect(try Jobspec(parsing: json.text).json.text == json.text)
  }
}

extension JSON {
  /// A copy with the value at a path of keys and array positions replaced, or removed.
  func replacing(_ path: ArraySlice<String>, with value: JSON?) -> JSON {
    guard let key = path.first else { return value ?? .null }
    if case .array(var elements) = self, let position = Int(key) {
      elements[position] = elements[position].replacing(path.dropFirst(), with: value)
      return .array(elements)
    }
    var copy = self
    copy[key] = path.count == 1 ? value : (self[key] ?? [:]).replacing(path.dropFirst(), with: value)
    return copy
  }
}
