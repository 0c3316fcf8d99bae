// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob
import FluxWire
import Glibc
import NIOCore

/// A loaded plugin: what a `flux_plugin_t *` points to.
final class HostPlugin {
  typealias Handler = (topic: String, callback: flux_plugin_f, data: UnsafeMutableRawPointer?)
  typealias Method = (callback: flux_msg_handler_f, data: UnsafeMutableRawPointer?)

  let path: String
  let fileName: String
  var name: String
  private(set) weak var host: PluginHost?
  private let library: UnsafeMutableRawPointer
  private var handlers: [Handler] = []
  /// Which handler a topic has, so that a topic without one costs a look-up.
  private var matches: [String: Int?] = [:]
  /// Of how many topics that is remembered, and how long they may be in bytes: events have the names that clients give them.
  private static let maximumMatches = 1024
  static let maximumRemembered = 256
  private var methods: [String: Method] = [:]
  private var data: [(key: String, value: UnsafeMutableRawPointer?, free: flux_free_f?)] = []
  /// Strings that were given to the plugin and have to live as long as it does.
  let pathText: UnsafeMutablePointer<CChar>?
  let configurationText: UnsafeMutablePointer<CChar>?
  let handle: HostHandle

  init(path: String, fileName: String, configuration: JSON?, host: PluginHost, library: UnsafeMutableRawPointer) {
    self.path = path
    self.fileName = fileName
    name = fileName.hasSuffix(".so") ? String(fileName.dropLast(3)) : fileName
    self.host = host
    self.library = library
    pathText = strdup(path)
    configurationText = configuration.flatMap { strdup($0.text) }
    handle = HostHandle(host.broker, host.log)
  }

  /// This object as the plugin sees it. Not retained: the host keeps the plugin for as long as it is loaded.
  var pointer: OpaquePointer { OpaquePointer(Unmanaged.passUnretained(self).toOpaque()) }

  static func from(_ pointer: OpaquePointer?) -> HostPlugin? {
    pointer.map { Unmanaged<HostPlugin>.fromOpaque(UnsafeRawPointer($0)).takeUnretainedValue() }
  }

  /// Ends the plugin: its data are freed, then its library is given back.
  func unload() {
    handlers.removeAll()
    methods.removeAll()
    let kept = data
    data.removeAll()
    for (_, value, free) in kept.reversed() { free?(value) }
    handle.close()
    dlclose(library)
    free(pathText)
    free(configurationText)
  }

  // MARK: What the plugin registers

  func add(handler: Handler) {
    handlers.append(handler)
    matches.removeAll()
  }

  func add(method: String, _ handler: Method) { methods[method] = handler }

  func set(key: String, _ value: UnsafeMutableRawPointer?, _ free: flux_free_f?) {
    data.append((key, value, free))
  }

  // MARK: Calls

  private func handler(_ topic: String) -> Handler? {
    if let known = matches[topic] { return known.map { handlers[$0] } }
    let found = handlers.firstIndex { fnmatch($0.topic, topic, 0) == 0 }
    if matches.count < Self.maximumMatches, topic.utf8.count <= Self.maximumRemembered { matches[topic] = .some(found) }
    return found.map { handlers[$0] }
  }

  /// Of how many topics its handler is known without a look.
  var rememberedCount: Int { matches.count }

  /// Calls the plugin with arguments that are there already. Returns nil when it has no handler.
  func call(_ topic: String, _ arguments: HostArguments) -> CInt? {
    guard let handler = handler(topic) else { return nil }
    return topic.withCString { handler.callback(pointer, $0, arguments.pointer, handler.data) }
  }

  /// Calls the plugin about a job. The arguments are made only when it has a handler.
  func call(
    _ topic: String, _ job: Job, _ host: PluginHost, extra: JSONObject = [:]
  ) -> (result: CInt, arguments: HostArguments)? {
    guard let handler = handler(topic) else { return nil }
    let arguments = HostArguments(input: { Self.input(job, extra) }, output: [:])
    let outer = host.currentJob
    host.currentJob = job
    defer { host.currentJob = outer }
    let result = topic.withCString { handler.callback(pointer, $0, arguments.pointer, handler.data) }
    return (result, arguments)
  }

  private static func input(_ job: Job, _ extra: JSONObject) -> JSONObject {
    var input: JSONObject = [
      "jobspec": job.current, "id": job.id.json, "userid": .int(Int64(job.userID)), "urgency": .int(Int64(job.urgency)),
      "state": .int(Int64(job.state.rawValue)), "priority": .int(job.priority),
      // Its event may be yet to come: a job that a plugin rejects has none.
      "t_submit": .double(job.times[.new] ?? job.pending.first?.timestamp ?? 0),
    ]
    if let resources = job.resources { input["R"] = resources.json }
    for (key, value) in extra { input[key] = value }
    return input
  }

  /// Gives a request to the plugin's method. Returns false when it has none of that name.
  func serve(_ method: String, _ message: Message) -> Bool {
    guard let handler = methods[method] else { return false }
    let box = HostMessage(message, isWholeClient: false)
    handler.callback(handle.pointer, nil, box.pointer, handler.data)
    return true
  }

  func serveDisconnect(routes: [String], isWholeClient: Bool) {
    guard let handler = methods["disconnect"] else { return }
    let message = Message(
      kind: .request, options: .noResponse, routes: routes, topic: "job-manager.\(name).disconnect")
    let box = HostMessage(message, isWholeClient: isWholeClient)
    handler.callback(handle.pointer, nil, box.pointer, handler.data)
  }
}
