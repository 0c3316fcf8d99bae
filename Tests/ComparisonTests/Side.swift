// SPDX-License-Identifier: LGPL-3.0-only

import Foundation
import TestSupport

/// One of the two instances: two nodes of two cores, named alike, with the same configuration.
struct Side: Sendable {
  var host: TestSupport.Host
  /// Where its configuration and the cases' working directories are.
  var directory: String

  /// Resources that are configured are the same on every machine.
  private static let resources = """
    {"version":1,"execution":{"R_lite":[{"rank":"0-1","children":{"core":"0-1"}}],\
    "starttime":0.0,"expiration":0.0,"nodelist":["node[0-1]"]}}
    """

  /// Whether nobody shall verify them; and flux-core's own scheduler, also where Fluxion is installed.
  private var configuration: String {
    """
    [resource]
    path = "\(directory)/R.json"
    noverify = true
    [modules]
    alternatives.sched = "sched-simple"

    """
  }

  private var configurationPath: String { "\(directory)/flux.toml" }

  init(_ host: TestSupport.Host, directory: String) throws {
    self.host = host
    self.directory = directory
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    try Self.resources.write(toFile: "\(directory)/R.json", atomically: false, encoding: .utf8)
    try configuration.write(toFile: configurationPath, atomically: false, encoding: .utf8)
  }

  private var command: [String] {
    switch host {
    case .embedded: [Build.executable, "start", "-N2", "-c2"]
    case .flux, .fluxWithOurVerbs:
      ["flux", "start", "-s2", "--config-path=\(configurationPath)", "--test-hosts=node[0-1]"]
    }
  }

  /// Runs all cases of a file on a new instance, with Flux's own commands.
  func answers(to cases: [ComparisonCase]) async throws -> [Answer] {
    try await withInstance(host, command: command) { instance in
      if host == .embedded { _ = try await run(["flux", "config", "load", configurationPath], uri: instance.uri) }
      var answers: [Answer] = []
      for (index, given) in cases.enumerated() {
        answers.append(try await answer(to: given, number: index, instance))
      }
      return answers
    }
  }

  /// A case has its own directory, and 40 s: on an idle machine none takes 4.
  private func answer(to given: ComparisonCase, number: Int, _ instance: Instance) async throws -> Answer {
    let place = "\(directory)/\(number)"
    try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
    // Files, not pipes: what a job leaves behind must not hold the test up.
    let wrapper = #"cd "$1" && exec timeout -k 1 40 sh -c "$2" >../$3.out 2>../$3.err </dev/null"#
    let ended = try await run(
      ["sh", "-c", wrapper, "sh", place, given.script, "\(number)"], uri: instance.uri,
      environment: [
        "CONFIG": configurationPath, "PLUGIN": Build.plugin, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PWD": place,
      ])
    let runDirectory = String(instance.uri.dropFirst("local://".count).dropLast("/local-0".count))
    var normalize = Normalizer(paths: [
      (place, "$PWD"), (directory, "$DIR"), (instance.uri, "$FLUX_URI"), (runDirectory, "$RUNDIR"),
    ])
    return Answer(
      code: ended.code, out: normalize(try text("\(number).out")), err: normalize(try text("\(number).err")))
  }

  private func text(_ name: String) throws -> String {
    String(decoding: try Data(contentsOf: URL(filePath: "\(directory)/\(name)")), as: UTF8.self)
  }
}
