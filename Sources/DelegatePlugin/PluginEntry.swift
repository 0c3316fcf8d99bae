// SPDX-License-Identifier: LGPL-3.0-only

import CJobtap

/// Called by the job manager when it loads the plugin, also when it loads it again: the shared object stays mapped in between
/// (`-z nodelete`), so nothing here may depend on globals.
///
/// - Returns: 0, or -1 when the plugin cannot be set up; the load then fails.
@c(flux_plugin_init) @implementation
public func flux_plugin_init(_ plugin: OpaquePointer?) -> CInt {
  guard let plugin, flux_plugin_set_name(plugin, "delegate") == 0 else { return -1 }
  let delegate: DelegatePlugin
  do { delegate = try DelegatePlugin(plugin) } catch { return -1 }
  let retained = Unmanaged.passRetained(delegate)
  let release: flux_free_f = { pointer in
    guard let pointer else { return }
    let delegate = Unmanaged<DelegatePlugin>.fromOpaque(pointer)
    delegate.takeUnretainedValue().unload()
    delegate.release()
  }
  guard flux_plugin_aux_set(plugin, "delegate::plugin", retained.toOpaque(), release) == 0 else {
    retained.release()
    return -1
  }
  return delegate.register() ? 0 : -1
}
