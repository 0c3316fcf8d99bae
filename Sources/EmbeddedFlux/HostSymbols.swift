// SPDX-License-Identifier: LGPL-3.0-only

// The C functions that a plugin finds in this process, with Flux's names and meaning. What Flux takes for granted (the plugin's
// thread, valid pointers) is taken for granted here too. A function that Flux has and this file lacks makes `dlopen` fail with its name.

import CJobtap
import CJobtapHost
import FluxJob
import FluxWire
import Glibc
import NIOCore

/// EINVAL, the C way.
private func invalid() -> CInt {
  errno = EINVAL
  return -1
}

// MARK: The plugin

/// Names the plugin: its services are `job-manager.NAME.METHOD`.
@c(flux_plugin_set_name) @implementation
public func flux_plugin_set_name(_ plugin: OpaquePointer?, _ name: UnsafePointer<CChar>?) -> CInt {
  guard let plugin = HostPlugin.from(plugin), let name else { return invalid() }
  plugin.name = String(cString: name)
  return 0
}

/// The path that the plugin was loaded from.
@c(flux_plugin_get_path) @implementation
public func flux_plugin_get_path(_ plugin: OpaquePointer?) -> UnsafePointer<CChar>? {
  UnsafePointer(HostPlugin.from(plugin)?.pathText)
}

/// The arguments of `jobtap load` as a JSON object, or NULL.
@c(flux_plugin_get_conf) @implementation
public func flux_plugin_get_conf(_ plugin: OpaquePointer?) -> UnsafePointer<CChar>? {
  UnsafePointer(HostPlugin.from(plugin)?.configurationText)
}

/// Registers a callback for topics that match a glob.
@c(flux_plugin_add_handler) @implementation
public func flux_plugin_add_handler(
  _ plugin: OpaquePointer?, _ topic: UnsafePointer<CChar>?, _ callback: flux_plugin_f?, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let plugin = HostPlugin.from(plugin), let topic, let callback else { return invalid() }
  plugin.add(handler: (String(cString: topic), callback, data))
  return 0
}

/// Keeps a value for the plugin; it is freed when the plugin is unloaded.
@c(flux_plugin_aux_set) @implementation
public func flux_plugin_aux_set(
  _ plugin: OpaquePointer?, _ key: UnsafePointer<CChar>?, _ value: UnsafeMutableRawPointer?, _ free: flux_free_f?
) -> CInt {
  guard let plugin = HostPlugin.from(plugin) else { return invalid() }
  plugin.set(key: key.map { String(cString: $0) } ?? "", value, free)
  return 0
}

/// A callback's arguments as JSON text, which the caller frees.
@c(flux_plugin_arg_get) @implementation
public func flux_plugin_arg_get(
  _ arguments: OpaquePointer?, _ flags: CInt, _ text: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
) -> CInt {
  guard let arguments = HostArguments.from(arguments), let text else { return invalid() }
  let object = flags & CInt(CJOBTAP_ARG_OUT) != 0 ? arguments.output : arguments.input
  text.pointee = strdup(JSON.object(object).text)
  return text.pointee == nil ? -1 : 0
}

/// Merges a JSON object into what a callback passes out.
@c(flux_plugin_arg_set) @implementation
public func flux_plugin_arg_set(_ arguments: OpaquePointer?, _ flags: CInt, _ text: UnsafePointer<CChar>?) -> CInt {
  guard let arguments = HostArguments.from(arguments), flags & CInt(CJOBTAP_ARG_OUT) != 0, let text,
    let object = (try? JSON(parsing: String(cString: text)))?.objectValue
  else { return invalid() }
  for (key, value) in object { arguments.output[key] = value }
  return 0
}

// MARK: The job manager

/// The plugin's handle of the instance; borrowed.
@c(flux_jobtap_get_flux) @implementation
public func flux_jobtap_get_flux(_ plugin: OpaquePointer?) -> OpaquePointer? { HostPlugin.from(plugin)?.handle.pointer }

/// Registers the method of a service of the plugin.
@c(flux_jobtap_service_register) @implementation
public func flux_jobtap_service_register(
  _ plugin: OpaquePointer?, _ method: UnsafePointer<CChar>?, _ callback: flux_msg_handler_f?,
  _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let plugin = HostPlugin.from(plugin), let method, let callback else { return invalid() }
  plugin.add(method: String(cString: method), (callback, data))
  return 0
}

/// The job with an id, or the one of the callback that is under way.
private func job(_ plugin: OpaquePointer?, _ id: UInt64) -> (HostPlugin, JobManager, Job)? {
  guard let plugin = HostPlugin.from(plugin), let host = plugin.host, let manager = host.manager else { return nil }
  let job = id == UInt64.max ? host.currentJob : manager.jobs[JobID(rawValue: id)]
  guard let job else { return nil }
  return (plugin, manager, job)
}

/// Makes a job in NEW or DEPEND wait for something of that description.
@c(flux_jobtap_dependency_add) @implementation
public func flux_jobtap_dependency_add(
  _ plugin: OpaquePointer?, _ id: UInt64, _ description: UnsafePointer<CChar>?
) -> CInt {
  guard let (_, manager, job) = job(plugin, id), let description, job.state == .new || job.state == .depend else {
    return invalid()
  }
  manager.addDependency(job, String(cString: description))
  return 0
}

/// Takes away what a job waits for; ENOENT when it does not.
@c(flux_jobtap_dependency_remove) @implementation
public func flux_jobtap_dependency_remove(
  _ plugin: OpaquePointer?, _ id: UInt64, _ description: UnsafePointer<CChar>?
) -> CInt {
  guard let (_, manager, job) = job(plugin, id), let description, job.state == .new || job.state == .depend else {
    return invalid()
  }
  let name = String(cString: description)
  guard job.dependencies.contains(name) else {
    errno = ENOENT
    return -1
  }
  manager.post(job, "dependency-remove", ["description": .string(name)])
  return 0
}

/// Sets a flag of a job: `alloc-bypass`, `debug` or `immutable`.
@c(flux_jobtap_job_set_flag) @implementation
public func flux_jobtap_job_set_flag(_ plugin: OpaquePointer?, _ id: UInt64, _ flag: UnsafePointer<CChar>?) -> CInt {
  guard let (_, manager, job) = job(plugin, id), let flag else { return invalid() }
  manager.post(job, "set-flags", ["flags": [.string(String(cString: flag))]])
  return 0
}

/// Ends a prolog of a job that is not run yet.
@c(flux_jobtap_prolog_finish) @implementation
public func flux_jobtap_prolog_finish(
  _ plugin: OpaquePointer?, _ id: UInt64, _ description: UnsafePointer<CChar>?, _ status: CInt
) -> CInt {
  guard let (_, manager, job) = job(plugin, id), let description, !job.isExecuted, job.isActive else {
    return invalid()
  }
  manager.post(
    job, "prolog-finish", ["description": .string(String(cString: description)), "status": .int(Int64(status))])
  return 0
}

/// Holds the job of the callback that is under way in CLEANUP, until the epilog of that description has finished.
@c(flux_jobtap_epilog_start) @implementation
public func flux_jobtap_epilog_start(_ plugin: OpaquePointer?, _ description: UnsafePointer<CChar>?) -> CInt {
  guard let (_, manager, job) = job(plugin, UInt64.max), let description, job.state == .cleanup else {
    return invalid()
  }
  manager.post(job, "epilog-start", ["description": .string(String(cString: description))])
  return 0
}

/// Ends an epilog.
@c(flux_jobtap_epilog_finish) @implementation
public func flux_jobtap_epilog_finish(
  _ plugin: OpaquePointer?, _ id: UInt64, _ description: UnsafePointer<CChar>?, _ status: CInt
) -> CInt {
  guard let (_, manager, job) = job(plugin, id), let description, job.state == .cleanup else { return invalid() }
  manager.post(
    job, "epilog-finish", ["description": .string(String(cString: description)), "status": .int(Int64(status))])
  return 0
}

/// Keeps a value for a job; it is freed when the job ends or the plugin is unloaded.
@c(flux_jobtap_job_aux_set) @implementation
public func flux_jobtap_job_aux_set(
  _ plugin: OpaquePointer?, _ id: UInt64, _ name: UnsafePointer<CChar>?, _ value: UnsafeMutableRawPointer?,
  _ free: flux_free_f?
) -> CInt {
  guard let (plugin, _, job) = job(plugin, id) else { return invalid() }
  job.pluginData.append(
    Job.PluginDatum(owner: ObjectIdentifier(plugin), name: name.map { String(cString: $0) } ?? "") { free?(value) })
  return 0
}

/// Has the plugin called for every event of a job.
@c(flux_jobtap_job_subscribe) @implementation
public func flux_jobtap_job_subscribe(_ plugin: OpaquePointer?, _ id: UInt64) -> CInt {
  guard let (plugin, _, job) = job(plugin, id) else { return invalid() }
  job.subscribers.insert(ObjectIdentifier(plugin))
  return 0
}

// MARK: Messages

/// Keeps a message beyond its callback.
@c(flux_msg_incref) @implementation
public func flux_msg_incref(_ message: OpaquePointer?) -> OpaquePointer? {
  HostMessage.from(message)?.retain()
  return message
}

/// Gives back a message that was kept.
@c(flux_msg_decref) @implementation
public func flux_msg_decref(_ message: OpaquePointer?) { HostMessage.from(message)?.release() }

/// Whether a request asks for a stream of responses.
@c(flux_msg_is_streaming) @implementation
public func flux_msg_is_streaming(_ message: OpaquePointer?) -> Bool {
  HostMessage.from(message)?.message.options.contains(.streaming) ?? false
}

/// Whether a disconnect message is of the sender of a request.
@c(flux_disconnect_match) @implementation
public func flux_disconnect_match(_ disconnect: OpaquePointer?, _ request: OpaquePointer?) -> Bool {
  guard let disconnect = HostMessage.from(disconnect), let request = HostMessage.from(request) else { return false }
  return disconnect.matches(request)
}

/// A request's topic and payload; they live as long as the message.
@c(flux_request_decode) @implementation
public func flux_request_decode(
  _ message: OpaquePointer?, _ topic: UnsafeMutablePointer<UnsafePointer<CChar>?>?,
  _ payload: UnsafeMutablePointer<UnsafePointer<CChar>?>?
) -> CInt {
  guard let message = HostMessage.from(message) else { return invalid() }
  topic?.pointee = message.text(message.message.topic)
  payload?.pointee = message.text(message.message.text)
  return 0
}

/// Answers a request; the next response of a stream.
@c(flux_respond) @implementation
public func flux_respond(_ flux: OpaquePointer?, _ request: OpaquePointer?, _ text: UnsafePointer<CChar>?) -> CInt {
  guard let handle = HostHandle.from(flux), let request = HostMessage.from(request) else { return invalid() }
  let payload = text.map { ByteBuffer(bytes: UnsafeRawBufferPointer(start: $0, count: strlen($0) + 1)) }
  handle.broker.respond(to: request.message, payload: payload)
  return 0
}

/// Answers a request with an error; ends a stream.
@c(flux_respond_error) @implementation
public func flux_respond_error(
  _ flux: OpaquePointer?, _ request: OpaquePointer?, _ errnum: CInt, _ text: UnsafePointer<CChar>?
) -> CInt {
  guard let handle = HostHandle.from(flux), let request = HostMessage.from(request) else { return invalid() }
  handle.broker.respond(
    to: request.message, error: Errnum(UInt32(truncatingIfNeeded: errnum)), text: text.map { String(cString: $0) })
  return 0
}

// MARK: Requests to the instance

/// Sends a request to the instance.
@c(flux_rpc) @implementation
public func flux_rpc(
  _ flux: OpaquePointer?, _ topic: UnsafePointer<CChar>?, _ text: UnsafePointer<CChar>?, _ node: UInt32, _ flags: CInt
) -> OpaquePointer? {
  guard let handle = HostHandle.from(flux), let topic else {
    errno = EINVAL
    return nil
  }
  let payload = text.flatMap { try? JSON(parsing: String(cString: $0)) }
  guard let future = handle.request(String(cString: topic), payload, node: node, flags: flags) else { return nil }
  future.retain()
  return future.pointer
}

/// The payload of a future's present response; -1 when it is an error.
@c(flux_rpc_get) @implementation
public func flux_rpc_get(_ future: OpaquePointer?, _ text: UnsafeMutablePointer<UnsafePointer<CChar>?>?) -> CInt {
  guard let answer = HostFuture.from(future)?.payload(), answer.isSuccess else { return -1 }
  text?.pointee = answer.text
  return 0
}

/// Has a function called for each response.
@c(flux_future_then) @implementation
public func flux_future_then(
  _ future: OpaquePointer?, _ timeout: Double, _ callback: flux_continuation_f?, _ data: UnsafeMutableRawPointer?
) -> CInt {
  guard let future = HostFuture.from(future), let callback else { return invalid() }
  future.then(callback, data)
  return 0
}

/// Takes the present response off a future, for the next one.
@c(flux_future_reset) @implementation
public func flux_future_reset(_ future: OpaquePointer?) { HostFuture.from(future)?.reset() }

/// Ends a future; its function is not called again.
@c(flux_future_destroy) @implementation
public func flux_future_destroy(_ future: OpaquePointer?) {
  guard let future = HostFuture.from(future) else { return }
  future.destroy()
  future.release()
}

/// The words of a future's present error.
@c(flux_future_error_string) @implementation
public func flux_future_error_string(_ future: OpaquePointer?) -> UnsafePointer<CChar>? {
  HostFuture.from(future)?.errorText
}

// MARK: The reactor

/// The reactor of a handle.
@c(flux_get_reactor) @implementation
public func flux_get_reactor(_ flux: OpaquePointer?) -> OpaquePointer? { flux }

/// A timer that fires once.
@c(flux_timer_watcher_create) @implementation
public func flux_timer_watcher_create(
  _ reactor: OpaquePointer?, _ after: Double, _ interval: Double, _ callback: flux_watcher_f?,
  _ data: UnsafeMutableRawPointer?
) -> OpaquePointer? {
  guard let handle = HostHandle.from(reactor), let callback else { return nil }
  let timer = HostTimer(handle.broker, after, callback, data)
  timer.retain()
  return timer.pointer
}

/// Starts a timer.
@c(flux_watcher_start) @implementation
public func flux_watcher_start(_ watcher: OpaquePointer?) { HostTimer.from(watcher)?.start() }

/// Stops and ends a timer.
@c(flux_watcher_destroy) @implementation
public func flux_watcher_destroy(_ watcher: OpaquePointer?) {
  guard let timer = HostTimer.from(watcher) else { return }
  timer.stop()
  timer.release()
}

// MARK: What C has to do with varargs

/// Whether a callback's arguments have a member at a path of keys: the arguments themselves if so.
@c(cjobtaphost_member) @implementation
public func cjobtaphost_member(
  _ arguments: UnsafeMutableRawPointer?, _ first: UnsafePointer<CChar>?, _ second: UnsafePointer<CChar>?,
  _ third: UnsafePointer<CChar>?, _ fourth: UnsafePointer<CChar>?
) -> UnsafeMutableRawPointer? {
  guard let found = HostArguments.from(arguments.map { OpaquePointer($0) }) else { return nil }
  var value = JSON.object(found.input)
  for key in [first, second, third, fourth] {
    guard let key, let member = value[String(cString: key)] else { return nil }
    value = member
  }
  return arguments
}

/// The whole number of a callback's arguments under a key.
@c(cjobtaphost_int) @implementation
public func cjobtaphost_int(
  _ arguments: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: UnsafeMutablePointer<CLongLong>?
) -> CInt {
  guard let found = HostArguments.from(arguments.map { OpaquePointer($0) }), let key,
    let number = found.input[String(cString: key)]?.intValue
  else { return invalid() }
  value?.pointee = number
  return 0
}

/// Adds a finished line to the instance's log.
@c(cjobtaphost_log) @implementation
public func cjobtaphost_log(_ handle: UnsafeMutableRawPointer?, _ level: CInt, _ text: UnsafePointer<CChar>?) {
  guard let text, let handle = HostHandle.from(handle.map { OpaquePointer($0) }) else { return }
  handle.log.append(level: Int(level), "job-manager", String(cString: text))
}

/// What `flux_jobtap_event_post_pack` puts together.
private final class PackedContext {
  var object = JSONObject()

  static func from(_ pointer: UnsafeMutableRawPointer?) -> PackedContext? {
    pointer.map { Unmanaged<PackedContext>.fromOpaque($0).takeUnretainedValue() }
  }

  static func add(_ pointer: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: JSON) {
    guard let key else { return }
    from(pointer)?.object[String(cString: key)] = value
  }
}

/// An empty object; ``cjobtaphost_post(_:_:_:_:)`` frees it.
@c(cjobtaphost_context) @implementation
public func cjobtaphost_context() -> UnsafeMutableRawPointer? { Unmanaged.passRetained(PackedContext()).toOpaque() }

/// Adds a whole number.
@c(cjobtaphost_add_int) @implementation
public func cjobtaphost_add_int(
  _ context: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: CLongLong
) { PackedContext.add(context, key, .int(Int64(value))) }

/// Adds a truth value.
@c(cjobtaphost_add_bool) @implementation
public func cjobtaphost_add_bool(_ context: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: CInt) {
  PackedContext.add(context, key, .bool(value != 0))
}

/// Adds a number.
@c(cjobtaphost_add_double) @implementation
public func cjobtaphost_add_double(_ context: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: Double) {
  PackedContext.add(context, key, .double(value))
}

/// Adds a text.
@c(cjobtaphost_add_text) @implementation
public func cjobtaphost_add_text(
  _ context: UnsafeMutableRawPointer?, _ key: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?
) { PackedContext.add(context, key, value.map { .string(String(cString: $0)) } ?? .null) }

/// Adds an event to a job's eventlog.
@c(cjobtaphost_post) @implementation
public func cjobtaphost_post(
  _ plugin: UnsafeMutableRawPointer?, _ id: CUnsignedLongLong, _ name: UnsafePointer<CChar>?,
  _ context: UnsafeMutableRawPointer?
) -> CInt {
  let object = PackedContext.from(context)?.object
  if let context { Unmanaged<PackedContext>.fromOpaque(context).release() }
  guard let (_, manager, job) = job(plugin.map { OpaquePointer($0) }, UInt64(id)), let name, job.isActive else {
    return invalid()
  }
  manager.post(job, String(cString: name), object)
  return 0
}
