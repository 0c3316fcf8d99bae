// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob

#if canImport(Glibc)
  import Glibc
#endif

/// The arguments of `flux jobtap load delegate.so [agent=PATH]`.
struct PluginConfiguration {
  /// A wrong argument.
  struct Mistake: Error {
    var message = "the job manager's handle is missing"
  }

  /// The executable that is started as the agent.
  var agent: String

  /// - Throws: ``Mistake`` for an unknown argument, or when there is no executable.
  init(_ plugin: OpaquePointer) throws(Mistake) {
    var given: String?
    if let text = flux_plugin_get_conf(plugin) {
      guard let arguments = try? JSON(parsing: String(cString: text)), let object = arguments.objectValue else {
        throw Mistake(message: "its arguments are not JSON")
      }
      for (key, value) in object {
        guard key == "agent", let path = value.stringValue else {
          throw Mistake(
            message: "unknown argument '\(key)': it takes agent=PATH, the path of the flux-delegate executable")
        }
        given = path
      }
    }
    let candidates =
      given.map { [$0] } ?? Self.candidates(flux_plugin_get_path(plugin).map { String(cString: $0) } ?? "")
    guard let found = candidates.first(where: { access($0, X_OK) == 0 }) else {
      throw Mistake(
        message: "no flux-delegate executable at \(candidates.joined(separator: " or ")): "
          + "install it there, or name it with agent=PATH")
    }
    agent = found
  }

  /// Where the executable is, as seen from the plugin: beside it after a build; in the same prefix when both are installed
  /// (PREFIX/lib/flux/job-manager/plugins/delegate.so and PREFIX/libexec/flux/cmd or PREFIX/bin).
  private static func candidates(_ plugin: String) -> [String] {
    var path = plugin
    if let real = realpath(plugin, nil) {
      path = String(cString: real)
      free(real)
    }
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropLast()
    let beside = parts.joined(separator: "/") + "/flux-delegate"
    let prefix = parts.dropLast(4).joined(separator: "/")
    return [beside, prefix + "/libexec/flux/cmd/flux-delegate", prefix + "/bin/flux-delegate"]
  }
}
