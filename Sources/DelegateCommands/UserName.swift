// SPDX-License-Identifier: LGPL-3.0-only

import Glibc

/// Users by name and number.
enum UserName {
  /// The number of a user; 4294967295 for `all`; this user's for nil.
  static func id(of name: String?) throws -> Int64 {
    guard let name else { return Int64(getuid()) }
    if name == "all" { return 0xffff_ffff }
    if let entry = getpwnam(name) { return Int64(entry.pointee.pw_uid) }
    guard let number = UInt32(name) else { throw CommandFailure("Invalid user \(name) specified") }
    return Int64(number)
  }

  /// The name of a user, or the number when there is none.
  static func name(of id: Int64) -> String {
    guard let number = uid_t(exactly: id), let entry = getpwuid(number), let name = entry.pointee.pw_name else {
      return String(id)
    }
    return String(cString: name)
  }
}
