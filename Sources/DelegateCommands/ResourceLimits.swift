// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob
import Glibc

/// The rules of --rlimit: which of the caller's soft resource limits the job gets.
enum ResourceLimits {
  /// Flux's names, in the order in which Python has them.
  private static let known: [(name: String, resource: __rlimit_resource)] = [
    ("cpu", RLIMIT_CPU), ("fsize", RLIMIT_FSIZE), ("data", RLIMIT_DATA), ("stack", RLIMIT_STACK),
    ("core", RLIMIT_CORE), ("nofile", RLIMIT_NOFILE), ("ofile", RLIMIT_NOFILE), ("as", RLIMIT_AS),
    ("rss", __RLIMIT_RSS), ("nproc", __RLIMIT_NPROC), ("memlock", __RLIMIT_MEMLOCK),
    ("msgqueue", __RLIMIT_MSGQUEUE), ("nice", __RLIMIT_NICE), ("rtprio", __RLIMIT_RTPRIO),
    ("rttime", __RLIMIT_RTTIME), ("sigpending", __RLIMIT_SIGPENDING),
  ]
  /// Those that Flux does not propagate unless asked.
  private static let defaults = ["-memlock", "-ofile", "-msgqueue", "-nice", "-rtprio", "-rttime", "-sigpending"]

  /// The shell option `rlimit`.
  static func option(rules: [String]) throws -> JSONObject {
    var limits: [String: Int64] = [:]
    for (name, resource) in known { limits[name] = current(resource) }
    let given = rules.flatMap { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
    for rule in defaults + given { try apply(rule, to: &limits) }
    var result = JSONObject()
    for (name, _) in known {
      if let value = limits[name] { result[name] = .int(value) }
    }
    return result
  }

  private static func apply(_ rule: String, to limits: inout [String: Int64]) throws {
    if rule.hasPrefix("-") {
      let pattern = rule.dropFirst().lowercased()
      limits = limits.filter { fnmatch(pattern, $0.key, 0) != 0 }
      return
    }
    guard let equals = rule.firstIndex(of: "=") else {
      let pattern = rule.lowercased()
      let matching = known.filter { fnmatch(pattern, $0.name, 0) == 0 }
      guard !matching.isEmpty else { throw CommandFailure("No corresponding rlimit matching \"\(rule)\"") }
      for (name, resource) in matching { limits[name] = current(resource) }
      return
    }
    let name = rule[..<equals].lowercased()
    let text = rule[rule.index(after: equals)...]
    guard known.contains(where: { $0.name == name }) else {
      throw CommandFailure("Invalid rlimit \"\(rule[..<equals])\"")
    }
    if ["unlimited", "infinity", "inf"].contains(text) {
      limits[name] = -1
    } else if let value = Int64(text) {
      limits[name] = value
    } else {
      throw CommandFailure("Invalid value in \(rule)")
    }
  }

  /// The soft limit; -1 is unlimited.
  private static func current(_ resource: __rlimit_resource) -> Int64 {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(resource.rawValue), &limit) == 0 else { return -1 }
    return Int64(bitPattern: UInt64(limit.rlim_cur))
  }
}
