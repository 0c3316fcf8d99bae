// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// The root directories of jobs' namespaces, as the last commit to each has told them: whoever moves one need not ask for it.
actor GuestRoots {
  private struct Root {
    var sequence: Int64
    var reference: String
  }

  private var roots: [JobID: Root] = [:]

  /// The answer to a commit. Those to several at once may come in any order.
  func note(_ answer: JSON, of id: JobID) {
    guard let sequence = answer["rootseq"]?.intValue, let reference = answer["rootref"]?.stringValue,
      !reference.isEmpty,
      sequence > roots[id]?.sequence ?? -1
    else { return }
    roots[id] = Root(sequence: sequence, reference: reference)
  }

  /// The reference of the root directory after the last commit; nil when this agent has made none.
  func root(of id: JobID) -> String? { roots[id]?.reference }

  func forget(_ id: JobID) { roots[id] = nil }
}
