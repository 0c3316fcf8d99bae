// SPDX-License-Identifier: LGPL-3.0-only

package import FluxConnection

extension FluxConnection.Configuration {
  /// For tests: what does not come at all is all that is too late, for a machine may be very busy.
  package static var patient: FluxConnection.Configuration {
    var configuration = FluxConnection.Configuration()
    configuration.localTimeout = .seconds(600)
    configuration.requestTimeout = .seconds(600)
    return configuration
  }
}
