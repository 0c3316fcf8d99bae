// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob

#if canImport(Glibc)
  import Glibc
#endif

/// The arguments of a callback as JSON.
enum PluginArguments {
  /// What the job manager passes in, or nil when it is not JSON.
  static func input(_ args: OpaquePointer?) -> JSON? {
    var text: UnsafeMutablePointer<CChar>?
    guard let args, flux_plugin_arg_get(args, CInt(CJOBTAP_ARG_IN), &text) == 0, let text else { return nil }
    defer { free(text) }
    let bytes = UnsafeBufferPointer(start: text, count: strlen(text))
    return bytes.withMemoryRebound(to: UInt8.self) { try? JSON(parsing: $0) }
  }

  /// Adds to what the callback passes out.
  static func output(_ args: OpaquePointer?, _ value: JSON) -> CInt {
    guard let args else { return -1 }
    return flux_plugin_arg_set(args, CInt(CJOBTAP_ARG_OUT), value.text)
  }

  /// Rejects the job with words for its owner.
  static func reject(_ args: OpaquePointer?, _ message: String) -> CInt {
    _ = output(args, ["errmsg": .string(message)])
    return -1
  }
}

/// The instance's log (`flux dmesg`).
struct PluginLog {
  private let flux: OpaquePointer

  init(_ flux: OpaquePointer) { self.flux = flux }

  func error(_ text: String) { cjobtap_log(flux, LOG_ERR, text) }
  func warning(_ text: String) { cjobtap_log(flux, LOG_WARNING, text) }
  func info(_ text: String) { cjobtap_log(flux, LOG_INFO, text) }
}
