// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap
import FluxJob

#if canImport(Glibc)
  import Glibc
#endif

/// The stream to the attached agent: the streaming request `job-manager.delegate.attach` that it has sent.
final class AgentLink {
  private let flux: OpaquePointer
  private let log: PluginLog
  private var request: OpaquePointer?

  init(_ flux: OpaquePointer, _ log: PluginLog) {
    self.flux = flux
    self.log = log
  }

  var isAttached: Bool { request != nil }

  /// An agent attaches. There is one at a time: a second is refused with EBUSY.
  func attach(_ message: OpaquePointer) -> Bool {
    guard flux_msg_is_streaming(message) else {
      flux_respond_error(flux, message, EPROTO, "job-manager.delegate.attach is a streaming request")
      return false
    }
    guard request == nil else {
      flux_respond_error(flux, message, EBUSY, "another agent is attached")
      return false
    }
    request = flux_msg_incref(message)
    return true
  }

  /// Somebody who has used the plugin's service has gone.
  func disconnect(_ message: OpaquePointer) {
    guard let request, flux_disconnect_match(message, request) else { return }
    flux_msg_decref(request)
    self.request = nil
  }

  /// Whether the attached agent has sent a message: one that was attached to an earlier plugin may have, and knows less.
  func isAgent(_ message: OpaquePointer) -> Bool {
    request.map { flux_disconnect_match(message, $0) } ?? false
  }

  /// Passes something on; without an agent it is dropped, for an agent that attaches is told everything anew.
  func send(_ message: JSON) {
    guard let request else { return }
    if flux_respond(flux, request, message.text) < 0 { log.error("delegate: cannot write to the agent") }
  }

  /// Ends the stream: the agent stops.
  func close() {
    guard let request else { return }
    flux_respond_error(flux, request, ENODATA, "the plugin was removed")
    flux_msg_decref(request)
    self.request = nil
  }
}
