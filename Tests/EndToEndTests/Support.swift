// SPDX-License-Identifier: LGPL-3.0-only

/// What is shared with other tests of real processes, for every file of this target.
@_exported import TestSupport

/// Foundation has a `Host` as well.
typealias Host = TestSupport.Host
