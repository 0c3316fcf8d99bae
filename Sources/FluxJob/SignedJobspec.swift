// SPDX-License-Identifier: LGPL-3.0-only

/// A signed jobspec, J, with the signing mechanism `none`: what `job-ingest.submit` takes.
///
/// Its text is `base64(header).base64(jobspec).none`; the header is a list of NUL-terminated keys and values.
public struct SignedJobspec: Hashable, Sendable {
  /// The user that signs; the server wants the one of the connection.
  public var userID: UInt32
  /// The jobspec as JSON text.
  public var jobspec: String

  /// A jobspec (JSON text) signed by a user.
  public init(userID: UInt32, jobspec: String) {
    self.userID = userID
    self.jobspec = jobspec
  }

  /// The text form, J.
  public var text: String {
    let header = "version\0i1\0userid\0i\(userID)\0mechanism\0snone\0"
    return "\(Base64.encode(header.utf8)).\(Base64.encode(jobspec.utf8)).none"
  }

  /// Parses J; the keys of the header may have any order.
  /// - Throws: ``FormatError`` with code `J`: not three parts, another mechanism, a defect in the header, or a jobspec
  ///   that is not UTF-8.
  public init(parsing text: String) throws(FormatError) {
    let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw FormatError(.signedJobspec, "signed jobspec without three parts") }
    guard parts[2] == "none" else {
      throw FormatError(.signedJobspec, "signed jobspec with a mechanism other than 'none'")
    }
    userID = try Self.parseHeader(Self.decode(parts[0], "header"))
    guard let jobspec = String(validating: try Self.decode(parts[1], "jobspec"), as: UTF8.self) else {
      throw FormatError(.signedJobspec, "the jobspec of the signed jobspec is not UTF-8")
    }
    self.jobspec = jobspec
  }

  private static func decode(_ part: Substring, _ name: String) throws(FormatError) -> [UInt8] {
    do throws(FormatError) {
      return try Base64.decode(String(part))
    } catch {
      throw FormatError(.signedJobspec, "the \(name) of the signed jobspec is not Base64: \(error.message)")
    }
  }

  private static func parseHeader(_ bytes: [UInt8]) throws(FormatError) -> UInt32 {
    var words = bytes.split(separator: 0, omittingEmptySubsequences: false).map {
      String(decoding: $0, as: UTF8.self).withOrderedMarks
    }
    if words.last == "" { words.removeLast() }
    guard words.count % 2 == 0 else { throw FormatError(.signedJobspec, "header of the signed jobspec is cut off") }
    var fields: [String: String] = [:]
    for position in stride(from: 0, to: words.count, by: 2) { fields[words[position]] = words[position + 1] }
    guard Set(fields.keys) == ["version", "userid", "mechanism"] else {
      throw FormatError(.signedJobspec, "header of the signed jobspec needs just version, userid and mechanism")
    }
    guard fields["version"] == "i1" else { throw FormatError(.signedJobspec, "signed jobspec is not version 1") }
    guard fields["mechanism"] == "snone" else {
      throw FormatError(.signedJobspec, "signed jobspec with a mechanism other than 'none'")
    }
    guard let user = fields["userid"], user.hasPrefix("i"),
      let first = user.utf8.dropFirst().first, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
      let userID = UInt32(user.dropFirst())
    else { throw FormatError(.signedJobspec, "signed jobspec with an invalid userid") }
    return userID
  }
}
