// SPDX-License-Identifier: LGPL-3.0-only

/// The checks of flux-core's validator of jobspec V1, with its texts.
enum JobspecValidator {
  private static let depthLimit = 64

  static func validate(_ json: JSON) throws(FormatError) {
    guard case .object(let document) = json else { throw error("jobspec is not an object") }
    let keys = ["version", "resources", "tasks", "attributes"]
    for key in keys where document[key] == nil { throw error("Missing key (\(key))") }
    for key in document.keys where !keys.contains(key) { throw error("Extraneous key (\(key.excerpt))") }
    guard case .int(1)? = document["version"] else { throw error("version must be 1") }
    guard case .array(let resources)? = document["resources"] else { throw error("resources must be a sequence") }
    guard case .array(let tasks)? = document["tasks"] else { throw error("tasks must be a sequence") }
    guard case .object(let attributes)? = document["attributes"] else { throw error("attributes must be a mapping") }
    for resource in resources { try validate(resource: resource, depth: 0) }
    for task in tasks { try validate(task: task) }
    try validate(attributes: attributes)
  }

  private static func error(_ message: String) -> FormatError { FormatError(.jobspec, message) }

  // MARK: Resources

  private static func validate(resource: JSON, depth: Int) throws(FormatError) {
    guard depth < depthLimit else { throw error("resources nest deeper than \(depthLimit)") }
    guard case .object(let vertex) = resource else { throw error("resource must be a mapping") }
    guard let type = vertex["type"] else { throw error("type is a required key for resources") }
    guard let type = type.stringValue else { throw error("type must be a string") }
    try validate(count: vertex["count"], type: type)
    for key in ["id", "unit", "label"] {
      if let value = vertex[key], value.stringValue == nil { throw error("\(key) must be a string") }
    }
    if let exclusive = vertex["exclusive"], exclusive.boolValue == nil { throw error("exclusive must be a boolean") }
    if type == "slot", vertex["label"] == nil { throw error("slots must have labels") }
    guard let children = vertex["with"] else { return }
    guard case .array(let children) = children else { throw error("with must be a sequence") }
    for child in children { try validate(resource: child, depth: depth + 1) }
  }

  private static func validate(count: JSON?, type: String) throws(FormatError) {
    guard let count else { throw error("count is a required key for resources") }
    guard case .int(let number) = count else {
      switch count {
      case .string, .object: throw error("resource count must be an integer for type '\(type.excerpt)'")
      default: throw error("count must be an int or mapping")
      }
    }
    if ["node", "slot", "core"].contains(type), number < 1 { throw error("node, slot, or core count must be > 0") }
    if number < 0 { throw error("count must be >= 0") }
  }

  // MARK: Tasks

  private static func validate(task: JSON) throws(FormatError) {
    guard case .object(let task) = task else { throw error("task must be a mapping") }
    for key in ["command", "slot", "count"] where task[key] == nil { throw error("Missing key (\(key))") }
    guard case .object(let count)? = task["count"] else { throw error("count must be a mapping") }
    guard count.count == 1 else { throw error("count must have exactly one key set") }
    guard let key = ["per_slot", "total"].first(where: { count[$0] != nil }) else {
      throw error("count per_slot or total must be set")
    }
    guard case .int(let number)? = count[key] else { throw error("count \(key) must be an int") }
    guard number > 0 else { throw error("count \(key) must be > 0") }
    guard task["slot"]?.stringValue != nil else { throw error("slot must be a string") }
    if let attributes = task["attributes"], attributes.objectValue == nil {
      throw error("attributes must be a mapping")
    }
    guard case .array(let words)? = task["command"], words.allSatisfy({ $0.stringValue != nil }) else {
      throw error("command must be a list of strings")
    }
    guard !words.isEmpty else { throw error("command array cannot have length of zero") }
  }

  // MARK: Attributes

  private static func validate(attributes: JSONObject) throws(FormatError) {
    for key in attributes.keys where key != "system" && key != "user" { throw error("Extraneous key (\(key.excerpt))") }
    guard let system = attributes["system"] else { throw error("attributes.system is a required key") }
    guard case .object(let system) = system else { throw error("attributes.system must be a mapping") }
    if let dependencies = system["dependencies"] {
      guard case .array(let dependencies) = dependencies else {
        throw error("attributes.system.dependencies must be a list")
      }
      for dependency in dependencies { try rethrowing { () throws(FormatError) in _ = try Dependency(dependency) } }
    }
    if let constraints = system["constraints"] {
      try rethrowing { () throws(FormatError) in _ = try Constraint(constraints) }
    }
    guard let duration = system["duration"] else { throw error("attributes.system.duration is a required key") }
    guard duration.doubleValue != nil else { throw error("attributes.system.duration must be a number") }
  }

  /// Runs a check of another format and reports its error as one of the jobspec.
  private static func rethrowing(_ check: () throws(FormatError) -> Void) throws(FormatError) {
    do throws(FormatError) { try check() } catch { throw self.error(error.message) }
  }
}
