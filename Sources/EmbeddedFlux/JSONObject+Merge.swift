// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

extension JSONObject {
  /// How deep objects are merged; what is deeper replaces what is there.
  private static let maximumDepth = 32

  /// Takes members over as Flux does with annotations: objects are merged, null takes a member away.
  mutating func merge(annotations: JSONObject, depth: Int = 0) {
    for (key, value) in annotations {
      if value.isNull {
        self[key] = nil
      } else if let inner = value.objectValue, depth < Self.maximumDepth {
        var merged = self[key]?.objectValue ?? [:]
        merged.merge(annotations: inner, depth: depth + 1)
        self[key] = merged.isEmpty ? nil : .object(merged)
      } else {
        self[key] = value
      }
    }
  }
}
