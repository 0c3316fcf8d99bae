// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Testing

/// The command lines that open a connection through ssh.
@Suite struct SSHCommandTests {
  private func command(
    _ uri: String, _ environment: [String: String] = [:], directories: [String] = []
  ) throws -> SSHCommand {
    SSHCommand(to: try FluxURI(parsing: uri), environment: environment, localDirectories: directories)
  }

  private func script(_ path: String, search: String) -> String {
    "exec sh -c 'PATH=\(search); export PATH; if command -v flux >/dev/null 2>&1; then exec flux relay \(path); "
      + "else exec flux-delegate relay \(path); fi'"
  }

  @Test func theHost() throws {
    let command = try command("ssh://corona189/var/tmp/flux-x/local-0")
    #expect(command.program == "ssh")
    let words = script("/var/tmp/flux-x/local-0", search: "/var/tmp/flux-x/bin:$PATH:/bin:/usr/bin")
    #expect(command.arguments == ["corona189", words])
  }

  @Test func userAndPort() throws {
    let command = try command("ssh://me@corona189:2222/run/local")
    #expect(command.arguments.dropLast() == ["-p", "2222", "me@corona189"])
    try #expect(self.command("ssh://me@corona189/run/local").arguments.dropLast() == ["me@corona189"])
    try #expect(self.command("ssh://corona189:1/run/local").arguments.dropLast() == ["-p", "1", "corona189"])
  }

  @Test func anotherProgram() throws {
    try #expect(command("ssh://h/s", ["FLUX_SSH": "/opt/bin/my ssh"]).program == "/opt/bin/my ssh")
    try #expect(command("ssh://h/s", ["FLUX_SSH": ""]).program == "ssh")
  }

  @Test func anotherRemoteProgram() throws {
    let command = try command("ssh://u@h:22/tmp/x/local", ["FLUX_SSH_RCMD": "/usr/local/bin/flux"])
    #expect(command.arguments == ["-p", "22", "u@h", "/usr/local/bin/flux", "relay", "/tmp/x/local"])
    let plain = try self.command("ssh://u@h:22/tmp/x/local")
    try #expect(self.command("ssh://u@h:22/tmp/x/local", ["FLUX_SSH_RCMD": ""]) == plain)
  }

  @Test func directoriesOfThisSide() throws {
    let directories = ["/home/me/bin", "", "/a b", "/a'b", "/a$b", "/a;b", "/opt/f-1.0_x+y/bin"]
    let command = try command("ssh://h/tmp/x/local", directories: directories)
    let search = "/tmp/x/bin:/home/me/bin:/opt/f-1.0_x+y/bin:$PATH:/bin:/usr/bin"
    #expect(command.arguments.last == script("/tmp/x/local", search: search))
  }

  @Test func aSocketInTheRoot() throws {
    try #expect(command("ssh://h/s").arguments.last == script("/s", search: "/bin:$PATH:/bin:/usr/bin"))
  }
}
