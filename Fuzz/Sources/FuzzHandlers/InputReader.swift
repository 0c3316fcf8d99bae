// SPDX-License-Identifier: LGPL-3.0-only

/// The fuzzer's input, read from its beginning to its end. Behind that there are zeros: every input means something.
struct InputReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private var position = 0

  init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

  var isAtEnd: Bool { position >= bytes.count }

  mutating func byte() -> UInt8 {
    guard position < bytes.count else { return 0 }
    position += 1
    return bytes[position - 1]
  }

  /// A number from 0, below `count`.
  mutating func choice(_ count: Int) -> Int { count > 0 ? Int(byte()) % count : 0 }

  mutating func pick<Element>(_ elements: [Element]) -> Element { elements[choice(elements.count)] }

  mutating func word() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }

  mutating func number() -> UInt64 { (0..<8).reduce(0) { number, _ in number << 8 | UInt64(byte()) } }

  /// At most 255 bytes, after their count.
  mutating func block() -> [UInt8] {
    let count = min(Int(byte()), max(bytes.count - position, 0))
    defer { position += count }
    return Array(bytes[position..<position + count])
  }

  /// Text of at most 255 bytes; what is not UTF-8 becomes U+FFFD.
  mutating func text() -> String { String(decoding: block(), as: UTF8.self) }
}
