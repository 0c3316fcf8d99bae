// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxJob

/// The targets that the origin's configuration names now, as the plugin has told them.
actor Settings {
  private(set) var targets = TargetList()
  private let governor: TargetGovernor

  init(_ governor: TargetGovernor) { self.governor = governor }

  /// Takes the configuration's key `delegate`. What means nothing was refused by the plugin, and changes nothing here.
  func update(_ value: JSON?) {
    var configuration = JSONObject()
    configuration["delegate"] = value
    guard let list = try? TargetList(configuration: .object(configuration)) else { return }
    targets = list
    governor.configure(list.terms, targets: list.targets)
  }
}
