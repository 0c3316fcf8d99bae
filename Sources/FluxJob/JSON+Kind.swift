// SPDX-License-Identifier: LGPL-3.0-only

extension JSON {
  /// What Flux's error messages call it.
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .int: "integer"
    case .double: "real"
    case .string: "string"
    case .array: "array"
    case .object: "object"
    }
  }
}
