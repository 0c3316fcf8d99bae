// SPDX-License-Identifier: LGPL-3.0-only

import FluxConnection
import FluxJob
import Testing

@testable import EmbeddedFlux

/// PMI-1: how the processes of an MPI program find each other. What is answered is what Flux 0.88 answers.
@Suite struct PMITests {
  private static func server(_ size: Int = 2) -> PMIServer {
    PMIServer(size: size, name: "ƒx", values: ["PMI_process_mapping": "(vector,(0,1,2))"])
  }

  private static func ask(_ server: inout PMIServer, _ line: String, _ rank: Int = 0) -> [PMIServer.Action] {
    server.receive(Array((line + "\n").utf8), from: rank)
  }

  @Test(arguments: [
    ("cmd=init pmi_version=1 pmi_subversion=1", "cmd=response_to_init rc=0 pmi_version=1 pmi_subversion=1"),
    ("cmd=init pmi_version=2 pmi_subversion=0", "cmd=response_to_init rc=-1"),
    ("cmd=get_maxes", "cmd=maxes rc=0 kvsname_max=64 keylen_max=64 vallen_max=1024"),
    ("cmd=get_universe_size", "cmd=universe_size rc=0 size=2"), ("cmd=get_appnum", "cmd=appnum rc=0 appnum=0"),
    ("cmd=get_my_kvsname", "cmd=my_kvsname rc=0 kvsname=ƒx"),
    ("cmd=get kvsname=ƒx key=nobody", "cmd=get_result rc=4"),
    ("cmd=get kvsname=ƒx key=PMI_process_mapping", "cmd=get_result rc=0 value=(vector,(0,1,2))"),
    ("cmd=publish_name service=a port=b", "cmd=publish_result rc=-1 msg=command not implemented"),
  ]) func answers(_ line: String, _ answer: String) {
    var server = Self.server()
    #expect(Self.ask(&server, line) == [.send(answer, rank: 0)])
  }

  @Test func valuesAndBarriers() {
    var server = Self.server()
    // Blanks and equals signs belong to a value; what is in it is no key.
    #expect(
      Self.ask(&server, "cmd=put kvsname=ƒx key=a value=x key=b = 1", 1) == [.send("cmd=put_result rc=0", rank: 1)])
    #expect(Self.ask(&server, "cmd=get kvsname=ƒx key=a") == [.send("cmd=get_result rc=0 value=x key=b = 1", rank: 0)])
    #expect(Self.ask(&server, "cmd=barrier_in", 1).isEmpty)
    #expect(
      Self.ask(&server, "cmd=barrier_in", 0) == [
        .send("cmd=barrier_out rc=0", rank: 0), .send("cmd=barrier_out rc=0", rank: 1),
      ])
    #expect(Self.ask(&server, "cmd=barrier_in", 0).isEmpty, "the next one is another one")
    #expect(Self.ask(&server, "cmd=finalize") == [.send("cmd=finalize_ack rc=0", rank: 0), .close(rank: 0)])
    #expect(Self.ask(&server, "cmd=abort exitcode=3 error_msg=no luck") == [.abort("no luck")])
    #expect(Self.ask(&server, "mcmd=spawn").isEmpty && Self.ask(&server, "nprocs=1").isEmpty)
    #expect(Self.ask(&server, "endcmd") == [.send("cmd=spawn_result rc=-1", rank: 0)])
  }

  @Test func limits() {
    var server = Self.server()
    let key = String(repeating: "k", count: PMIServer.maximumKey)
    let value = String(repeating: "v", count: PMIServer.maximumValue)
    #expect(Self.ask(&server, "cmd=put kvsname=x key=\(key) value=1") == [.send("cmd=put_result rc=5", rank: 0)])
    #expect(Self.ask(&server, "cmd=put kvsname=x key=k value=\(value)") == [.send("cmd=put_result rc=7", rank: 0)])
    for line in ["hello", "cmd=no", "cmd=put kvsname=x key=y", "cmd=init pmi_version=1"] {
      #expect(Self.ask(&server, line) == [.broken(rank: 0)])
    }
    // Without an end of the line nothing is kept for ever.
    let endless = [UInt8](repeating: 65, count: PMIServer.maximumLine + 1)
    #expect(server.receive(endless, from: 1) == [.broken(rank: 1)])
    // In pieces, and two at once.
    #expect(server.receive(Array("cmd=get_".utf8), from: 0).isEmpty)
    #expect(server.receive(Array("appnum\ncmd=get_universe_size\n".utf8), from: 0).count == 2)
  }

  @Test func processMapping() throws {
    let ranks = (0..<3).map { ResourceSet.Rank(rank: $0, host: "n\($0)", cores: [0, 1]) }
    let layout = TaskLayout(try InstanceTests.jobspec(["true"], tasks: 5), ResourceSet(ranks: ranks))
    #expect(layout.map.processMapping(limit: 1024) == "(vector,(0,2,2),(2,1,1))")
  }

  /// A script that speaks the protocol as an MPI library does: each task tells its name, and reads that of its neighbour.
  private static let exchange = #"""
    ask() { printf '%s\n' "$1" >&3; IFS= read -r answer <&3; }
    ask "cmd=init pmi_version=1 pmi_subversion=1"
    ask "cmd=get_my_kvsname"
    ask "cmd=put kvsname=x key=card-$PMI_RANK value=task $PMI_RANK of $PMI_SIZE"
    ask "cmd=barrier_in"
    ask "cmd=get kvsname=x key=card-$(( (PMI_RANK + 1) % PMI_SIZE ))"
    echo "$PMI_FD $answer"
    ask "cmd=finalize"
    """#

  @Test func tasksFindEachOther() async throws {
    try await InstanceTests.withInstance(nodes: 2, cores: 2) { _, connection in
      let jobspec = try InstanceTests.jobspec(["sh", "-c", Self.exchange], tasks: 4)
      let id = try await InstanceTests.submit(connection, jobspec)
      let text = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(
        text.split(separator: "\n").sorted() == (0..<4).map { "3 cmd=get_result rc=0 value=task \($0) of 4" }, "\(text)"
      )
    }
  }

  @Test func theProgramAborts() async throws {
    try await InstanceTests.withInstance(nodes: 1, cores: 2) { _, connection in
      let script = #"[ $PMI_RANK = 0 ] || echo "cmd=abort exitcode=1 error_msg=no luck" >&3; exec sleep 60"#
      let id = try await InstanceTests.submit(connection, InstanceTests.jobspec(["sh", "-c", script], tasks: 2))
      let events = try await InstanceTests.events(connection, id)
      #expect(events.first { $0.name == "exception" }?.context?["note"] == "PMI_Abort: no luck", "\(events)")
      let wrong = try await InstanceTests.submit(
        connection, InstanceTests.jobspec(["sh", "-c", "echo hi >&3; sleep 60"]))
      let ended = try await InstanceTests.events(connection, wrong)
      #expect(ended.first { $0.name == "exception" }?.context?["note"] == "PMI-1 wire protocol error", "\(ended)")
    }
  }

  @Test func withoutPMI() async throws {
    try await InstanceTests.withInstance { _, connection in
      var jobspec = try InstanceTests.jobspec(["sh", "-c", "echo x$PMI_FD; ls /proc/self/fd | grep -c '^3$'"])
      jobspec.set(attribute: "shell.options", to: ["pmi": "off"])
      let id = try await InstanceTests.submit(connection, jobspec)
      let text = String(decoding: try await InstanceTests.output(connection, id), as: UTF8.self)
      #expect(text.hasPrefix("x\n"), "\(text)")
    }
  }
}
