// SPDX-License-Identifier: LGPL-3.0-only

import DelegateCommands

@main
enum Main {
  static func main() async { await FluxDelegate.main() }
}
