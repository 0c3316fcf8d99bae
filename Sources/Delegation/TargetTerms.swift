// SPDX-License-Identifier: LGPL-3.0-only

import FluxJob

/// On what terms a target takes jobs: its entry in the configuration.
///
/// ```toml
/// [[delegate]]
/// uri = "ssh://corona189/var/tmp/me/flux-sCMd4I/local-0"
/// drain = "maintenance until Monday"    # takes no new jobs; true does without a reason
/// max-jobs = 200                        # at the target at once
/// max-rate = 5                          # submissions a second
/// delivery = "at-least-once"            # of jobs that do not say it themselves
/// patience = "30m"
/// orphans = "keep"                      # jobs that are there when this instance ends for good stay
/// ```
public struct TargetTerms: Hashable, Sendable {
  /// The most jobs that a limit can name.
  public static let maximumJobs = 1 << 20
  /// The rates that a limit can name, in submissions a second.
  public static let rates = 0.001...100_000.0
  /// The longest reason in characters.
  public static let maximumReasonLength = 256

  /// Why it takes no new jobs; nil when it does.
  public var drain: String?
  /// The most jobs of this origin at the target at once; nil: no limit.
  public var jobs: Int?
  /// The most submissions a second, on average; nil: no limit.
  public var rate: Double?
  /// What becomes of a job that does not say it when the target cannot be seen; nil: at most once.
  public var delivery: Delivery?
  /// How long the target may be out of sight, in seconds; nil: ``Delivery/defaultPatience``.
  public var patience: Double?

  /// What becomes of the jobs that are there when the origin ends for good; nil: they are cancelled.
  public var orphans: Orphans?

  /// No terms.
  public init() {}

  /// The keys of a target's table that belong here.
  static let keys: Set<String> = ["drain", "max-jobs", "max-rate", "delivery", "patience", "orphans"]

  init(_ table: JSONObject, target: Int) throws(RequestError) {
    func mistake(_ key: String, _ words: String) -> RequestError {
      RequestError(
        "target \(target) of the configuration: '\(key)' is \(DelegationRequest.excerpt(table[key]?.text ?? "")), not \(words)"
      )
    }
    if let value = table["drain"] {
      guard value.boolValue != nil || value.stringValue != nil else {
        throw mistake("drain", "a reason, true or false")
      }
      if value.boolValue == true { drain = "" }
      if let reason = value.stringValue { drain = String(reason.prefix(Self.maximumReasonLength)) }
    }
    if let value = table["max-jobs"] {
      guard let count = value.intValue, (1...Int64(Self.maximumJobs)).contains(count) else {
        throw mistake("max-jobs", "a number from 1 to \(Self.maximumJobs)")
      }
      jobs = Int(count)
    }
    if let value = table["max-rate"] {
      guard let found = value.doubleValue, Self.rates.contains(found) else {
        throw mistake("max-rate", "a number of submissions a second from 0.001 to 100000")
      }
      rate = found
    }
    do {
      delivery = try DelegationRequest.delivery(table["delivery"])
      patience = try DelegationRequest.patience(table["patience"])
      orphans = try DelegationRequest.orphans(table["orphans"])
    } catch {
      let words = error.message.replacing("delegate: ", with: "", maxReplacements: 1)
      throw RequestError("target \(target) of the configuration: \(words)")
    }
  }
}
