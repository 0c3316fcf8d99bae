// SPDX-License-Identifier: LGPL-3.0-only

public import FluxJob

/// The command line that opens a Flux connection through ssh.
///
/// Flux's own ssh connector runs `SSH [-p PORT] [USER@]HOST env PATH=… flux relay /PATH`. This one does the same, and falls
/// back to `flux-delegate relay` on a machine that has no Flux. `FLUX_SSH` names another ssh (one word), `FLUX_SSH_RCMD` another
/// program on the far side; with it the command is `RCMD relay /PATH`, as Flux's.
public struct SSHCommand: Hashable, Sendable {
  /// The ssh program: a name or a path.
  public var program: String
  /// Its arguments.
  public var arguments: [String]

  /// The command for `uri`.
  ///
  /// - Parameters:
  ///   - environment: where `FLUX_SSH`, `FLUX_SSH_RCMD` and `PATH` are looked up.
  ///   - localDirectories: directories of this side to look in on the far side as well, for homes that both share.
  public init(to uri: FluxURI, environment: [String: String], localDirectories: [String]) {
    program = environment["FLUX_SSH"].flatMap { $0.isEmpty ? nil : $0 } ?? "ssh"
    arguments = []
    if let port = uri.port { arguments += ["-p", String(port)] }
    let host = uri.host ?? ""
    arguments.append(uri.user.map { "\($0)@\(host)" } ?? host)
    if let command = environment["FLUX_SSH_RCMD"], !command.isEmpty {
      arguments += [command, "relay", uri.path]
    } else {
      arguments.append(Self.script(path: uri.path, directories: localDirectories))
    }
  }

  /// One word for the remote shell. It uses only what sh, csh and fish read alike: single quotes around a script for `sh`.
  private static func script(path: String, directories: [String]) -> String {
    let own = path.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
    let safe = directories.filter { directory in
      !directory.isEmpty && directory.allSatisfy { $0.isLetter || $0.isNumber || "/._-+".contains($0) }
    }
    let search = (["\(own)/bin"] + safe + ["$PATH", "/bin", "/usr/bin"]).joined(separator: ":")
    return "exec sh -c 'PATH=\(search); export PATH; "
      + "if command -v flux >/dev/null 2>&1; then exec flux relay \(path); "
      + "else exec flux-delegate relay \(path); fi'"
  }
}
