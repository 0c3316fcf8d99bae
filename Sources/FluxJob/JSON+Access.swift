// SPDX-License-Identifier: LGPL-3.0-only

extension JSON {
  /// The value of a key of an object; nil if absent or if this is not an object.
  ///
  /// Setting does nothing on a value that is not an object; setting nil removes the key.
  public subscript(key: String) -> JSON? {
    get {
      guard case .object(let object) = self else { return nil }
      return object[key]
    }
    set {
      guard case .object(var object) = self else { return }
      self = .null  // gives up the second reference, so that the object is changed in place
      object[key] = newValue
      self = .object(object)
    }
  }

  /// The element of an array; nil if out of range or if this is not an array.
  public subscript(index: Int) -> JSON? {
    guard case .array(let array) = self, array.indices.contains(index) else { return nil }
    return array[index]
  }

  /// The text of a string, else nil.
  public var stringValue: String? {
    if case .string(let value) = self { value } else { nil }
  }

  /// The number of an integer, or of a double that is integral and in range, else nil.
  public var intValue: Int64? {
    switch self {
    case .int(let value): value
    case .double(let value): Self.integer(value)
    default: nil
    }
  }

  /// Like `Int64(exactly:)`, which would need libm, and a plugin of pure Swift is not linked with it.
  private static func integer(_ value: Double) -> Int64? {
    guard value >= -0x1p63, value < 0x1p63 else { return nil }
    let integer = Int64(value)
    return Double(integer) == value ? integer : nil
  }

  /// The number of a double or an integer (rounded to 53 bits), else nil.
  public var doubleValue: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// The value of a boolean, else nil.
  public var boolValue: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// The elements of an array, else nil.
  public var arrayValue: [JSON]? {
    if case .array(let value) = self { value } else { nil }
  }

  /// The members of an object, else nil.
  public var objectValue: JSONObject? {
    if case .object(let value) = self { value } else { nil }
  }

  /// Whether this is `null`.
  public var isNull: Bool {
    if case .null = self { true } else { false }
  }

  /// Sets the value at a dotted path such as `attributes.system.duration`, with the objects on the way to it.
  ///
  /// A `null` on the way counts as an absent object. Nothing happens if a component is empty, if there are more than 64
  /// of them, or if something else than an object is in the way.
  public mutating func set(path: String, to value: JSON) {
    let keys = path.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard !keys.contains(""), keys.count <= 64 else { return }
    guard isFree(path: keys) else { return }
    set(keys[...], to: value)
  }

  /// Whether all on the way to a value are objects, or not there.
  private func isFree(path keys: [String]) -> Bool {
    var current = self
    for key in keys {
      switch current {
      case .object(let object): current = object[key] ?? .null
      case .null: return true
      default: return false
      }
    }
    return true
  }

  private mutating func set(_ keys: ArraySlice<String>, to value: JSON) {
    guard let key = keys.first else {
      self = value
      return
    }
    var object = objectValue ?? [:]
    self = .null  // gives up the second reference, so that the object is changed in place
    var inner = JSON.null
    if keys.count > 1, let found = object[key] {
      inner = found
      object[key] = .null
    }
    inner.set(keys.dropFirst(), to: value)
    object[key] = inner
    self = .object(object)
  }

  /// The value at a dotted path such as `attributes.system.duration`; nil if there is none.
  public func value(at path: String) -> JSON? {
    var current = self
    for key in path.split(separator: ".", omittingEmptySubsequences: false) {
      guard let next = current[String(key)] else { return nil }
      current = next
    }
    return current
  }
}
