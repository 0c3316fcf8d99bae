// SPDX-License-Identifier: LGPL-3.0-only

/// A jobspec, version 1 (Flux RFC 14 and 25): what a job runs, on what, and how.
public struct Jobspec: Hashable, Sendable {
  /// The whole document as it came, with keys that this type knows nothing about. It is not checked again when set.
  public var json: JSON

  /// The jobspec of a JSON object, checked as flux-core's validator does.
  /// - Throws: ``FormatError`` with code `jobspec` and the text of flux-core, such as `Missing key (version)`.
  public init(_ json: JSON) throws(FormatError) {
    try JobspecValidator.validate(json)
    self.json = json
  }

  /// Parses a jobspec as JSON text.
  /// - Throws: ``FormatError`` with code `jobspec`.
  public init(parsing text: String) throws(FormatError) {
    let json: JSON
    do throws(FormatError) {
      json = try JSON(parsing: text)
    } catch {
      throw FormatError(.jobspec, "jobspec: invalid JSON: \(error.message)", offset: error.offset)
    }
    try self.init(json)
  }
}

// MARK: - Tasks and resources

extension Jobspec {
  /// The command and its arguments.
  public var command: [String] {
    json["tasks"]?[0]?["command"]?.arrayValue?.compactMap(\.stringValue) ?? []
  }

  /// The number of nodes that is asked for, nil if the scheduler may choose.
  public var nodeCount: Int? { shape.nodes }

  /// The number of task slots, of all nodes together.
  public var slotCount: Int { shape.slots }

  /// The number of cores of each slot.
  public var coresPerSlot: Int { shape.cores }

  /// The number of GPUs of each slot.
  public var gpusPerSlot: Int { shape.gpus }

  /// The number of tasks, of all slots together.
  public var taskCount: Int {
    let count = json["tasks"]?[0]?["count"]
    if let total = count?["total"]?.intValue { return Int(clamping: total) }
    return Self.product(slotCount, Int(clamping: count?["per_slot"]?.intValue ?? 1))
  }

  /// Whether whole nodes are asked for.
  public var exclusive: Bool { shape.exclusive }

  /// What the chain of resources says.
  private struct Shape {
    var nodes: Int?
    var slots = 0
    var cores = 0
    var gpus = 0
    var exclusive = false
  }

  /// Walks down `node`, `slot` and the children of the slot; resources of other types on the way multiply the slots.
  private var shape: Shape {
    var shape = Shape()
    var multiple = 1
    var vertex = json["resources"]?[0]
    for _ in 0..<64 {
      guard let current = vertex else { break }
      let count = Int(clamping: current["count"]?.intValue ?? 0)
      if current["exclusive"]?.boolValue == true { shape.exclusive = true }
      multiple = Self.product(multiple, count)
      switch current["type"]?.stringValue {
      case "node": shape.nodes = multiple
      case "slot":
        shape.slots = multiple
        shape.cores = Self.count("core", in: current)
        shape.gpus = Self.count("gpu", in: current)
        return shape
      default: break
      }
      vertex = current["with"]?[0]
    }
    return shape
  }

  private static func count(_ type: String, in slot: JSON) -> Int {
    let vertex = slot["with"]?.arrayValue?.first { $0["type"]?.stringValue == type }
    return Int(clamping: vertex?["count"]?.intValue ?? 0)
  }

  private static func product(_ left: Int, _ right: Int) -> Int {
    let (product, overflow) = left.multipliedReportingOverflow(by: right)
    return overflow ? Int.max : product
  }
}

// MARK: - Attributes

extension Jobspec {
  /// An attribute of the system; the path is relative to `attributes.system`.
  private func system(_ path: String) -> JSON? { json.value(at: "attributes.system." + path) }

  /// The time limit in seconds; 0 if there is none.
  public var duration: Double { system("duration")?.doubleValue ?? 0 }

  /// The environment of the tasks: strings, or `null` to unset a variable.
  public var environment: JSONObject { system("environment")?.objectValue ?? JSONObject() }

  /// The working directory of the tasks, nil if not given.
  public var cwd: String? { system("cwd")?.stringValue }

  /// The queue, nil if not given.
  public var queue: String? { system("queue")?.stringValue }

  /// The name of the job; by default the last component of the path of the command.
  public var name: String {
    if let name = system("job.name")?.stringValue { return name }
    let program = command.first ?? ""
    let slash = program.utf8.lastIndex(of: UInt8(ascii: "/"))
    return slash.map { String(program[program.utf8.index(after: $0)...]) } ?? program
  }

  /// What the job waits for; empty if nothing.
  public var dependencies: [Dependency] {
    system("dependencies")?.arrayValue?.compactMap { try? Dependency($0) } ?? []
  }

  /// The constraint on the nodes of the job, nil if there is none.
  public var constraints: Constraint? { system("constraints").flatMap { try? Constraint($0) } }

  /// The options of the job shell, nil if there are none.
  public var shellOptions: JSON? { system("shell.options") }

  /// Sets an attribute as `flux submit --setattr` does.
  ///
  /// A key that starts with `attributes.` is taken as it is; one that starts with `user.` or `system.` is below
  /// `attributes`; one that starts with `.` is below `attributes` too (`.x` is `attributes.x`); any other is below
  /// `attributes.system`. Objects on the way are created.
  public mutating func set(attribute key: String, to value: JSON) {
    let path =
      if key.hasPrefix(".") {
        "attributes" + key
      } else if key.hasPrefix("attributes.") {
        key
      } else if key.hasPrefix("user.") || key.hasPrefix("system.") {
        "attributes." + key
      } else {
        "attributes.system." + key
      }
    json.set(path: path, to: value)
  }

  /// Removes an attribute below `attributes.system`, such as `queue`. Nothing happens if it is not there.
  public mutating func remove(system name: String) {
    json["attributes"]?["system"]?[name] = nil
  }

  /// Removes all that the job waits for.
  public mutating func removeDependencies() {
    json["attributes"]?["system"]?["dependencies"] = nil
  }

  /// Removes the attribute `system.delegate`: a request to run elsewhere does not travel.
  public mutating func removeDelegation() {
    json["attributes"]?["system"]?["delegate"] = nil
  }
}
