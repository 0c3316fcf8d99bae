// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

extension JSONObject {
  /// How deep objects are merged; what is deeper replaces what is there.
  private static let maximumDepth = 32

  /// Takes members over as Flux does with annotations: objects are merged, null takes a member away.
  mutating func merge(annotations: JSONObject, depth: Int = 0) {
    // Those that go do so together: for each of them alone all others would be moved.
    var gone: Set<String> = []
    for (key, value) in annotations {
      if value.isNull {
        gone.insert(key)
      } else if let inner = value.objectValue, depth < Self.maximumDepth {
        var merged = self[key]?.objectValue ?? [:]
        self[key] = .null  // gives up the second reference, so that the object is changed in place
        merged.merge(annotations: inner, depth: depth + 1)
        if merged.isEmpty { gone.insert(key) } else { self[key] = .object(merged) }
      } else {
        self[key] = value
      }
    }
    if !gone.isEmpty { removeAll(where: gone.contains) }
  }
}
