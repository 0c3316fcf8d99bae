// SPDX-License-Identifier: LGPL-3.0-only

import Delegation
import FluxConnection
import FluxJob
import FluxWire

#if canImport(Glibc)
  import Glibc
#endif

/// An origin job whose remote job runs: what job-exec does for a job that runs here, for one that does not (flux-core
/// `src/modules/job-exec`). Its logs have a KVS namespace of their own while they grow, and are a part of the job's directory in the end.
struct GuestJob: Sendable {
  let origin: FluxConnection
  let writer: KVSWriter
  let log: OriginLog
  /// The reference of an empty directory in the origin's KVS.
  let emptyDirectory: String
  let roots: GuestRoots
  let id: JobID

  /// The namespace's name.
  private var namespace: String { "job-\(id.encoded(.dec))" }
  private var directory: String { id.encoded(.kvs) }

  // MARK: The start

  /// Makes the job's namespace, with the execution log that whoever attaches looks for at `start`.
  func prepare() async -> DelegatedJob.Event {
    do {
      if try await !createNamespace(emptyDirectory), try await hasExecutionLog() { return .written }
      // A log of the output without an entry would be EINVAL to whoever follows it.
      try await append([("exec.eventlog", Self.beginning)])
      return .written
    } catch { return .unwritten("the job's logs: \(error)") }
  }

  /// Empties the logs of a job that is to run once more, elsewhere.
  func renew() async -> DelegatedJob.Event {
    do {
      try await reopen()
      let operations: [JSON] = [
        ["key": "output", "flags": 0, "dirent": .null],
        ["key": "exec.eventlog", "flags": 0, "dirent": KVSWriter.treeObject(Self.beginning)],
      ]
      let request: JSON = ["namespace": .string(namespace), "flags": 0, "ops": .array(operations)]
      await roots.note(try await origin.rpc("kvs.commit", request), of: id)
      return .written
    } catch { return .unwritten("the job's logs: \(error)") }
  }

  /// What an execution log begins with (flux-core `src/modules/job-exec`).
  private static var beginning: String {
    let now = OriginLog.now
    return ["init", "starting"].map { EventlogEntry(timestamp: now, name: $0).line }.joined()
  }

  private func hasExecutionLog() async throws -> Bool {
    do {
      try await origin.rpc("kvs.lookup", ["namespace": .string(namespace), "key": "exec.eventlog", "flags": 0])
      return true
    } catch let error as RPCError where error.errnum == Errnum.noEntry.rawValue { return false }
  }

  /// Removes the namespace of a job that never ran.
  func discard() async {
    await roots.forget(id)
    do { try await removeNamespace() } catch { log.debug("\(id): its logs could not be removed: \(error)") }
  }

  /// How often it is tried to write a job's resources.
  private static let resourceTries = 3

  /// Has the plugin let the job go. The job manager has the resources from the plugin, and tells its journal.
  func allocate(_ resources: RemoteResources, started: Double?, isHeld: Bool, target: String) async
    -> DelegatedJob.Event
  {
    do {
      var request: JSONObject = [
        "id": id.json, "R": resources.json, "prolog": .bool(isHeld), "target": .string(target),
      ]
      if let started { request["started"] = .double(started) }
      try await origin.rpc("job-manager.delegate.allocate", .object(request))
      return .written
    } catch { return .unwritten("the job's start: \(error)") }
  }

  /// Writes the job's resources where everybody looks for them later, and where its logs are.
  ///
  /// - Parameter withLink: not when an earlier agent may have put the logs where they stay: ``reopen()`` knows.
  func store(_ resources: RemoteResources, withLink: Bool) async {
    for attempt in 1...Self.resourceTries {
      do {
        async let isLinked: Void = withLink ? link() : ()
        try await writer.put("\(directory).R", resources.text)
        return try await isLinked
      } catch {
        // The job runs all the same; only `flux job info ID R` finds nothing.
        if attempt == Self.resourceTries { log.error("\(id): its resources could not be stored: \(error)") }
      }
    }
  }

  private func link() async throws {
    let link: JSON = ["ver": 1, "type": "symlink", "data": ["namespace": .string(namespace), "target": "."]]
    try await writer.put("\(directory).guest", treeObject: link)
  }

  /// - Returns: false when an earlier agent has made it.
  @discardableResult private func createNamespace(_ root: String) async throws -> Bool {
    do {
      try await origin.rpc(
        "kvs.namespace-create",
        ["namespace": .string(namespace), "rootref": .string(root), "owner": .int(Int64(getuid())), "flags": 0])
      return true
    } catch let error as RPCError where error.errnum == Errnum.exists.rawValue { return false }
  }

  private func removeNamespace() async throws {
    try await origin.rpc("kvs.namespace-remove", ["namespace": .string(namespace)])
  }

  /// Makes sure that the namespace is there: after a restart of the origin it is not, and begins anew; after an earlier agent's last step its
  /// contents are in the job's directory, and are taken back from there.
  func reopen() async throws {
    await roots.forget(id)
    let found: JSON
    do {
      found = try await origin.rpc(
        "kvs.lookup", ["namespace": "primary", "key": .string("\(directory).guest"), "flags": .int(Self.treeObject)])
    } catch let error as RPCError
      where error.errnum == Errnum.noEntry.rawValue || error.errnum == Errnum.notSupported.rawValue
    {
      // Whoever attaches looks for the execution log first.
      if try await createNamespace(emptyDirectory) { try await append([("exec.eventlog", Self.beginning)]) }
      return try await link()
    }
    let reference = found["val"]?["type"]?.stringValue == "dirref" ? found["val"]?["data"]?.arrayValue?.first : nil
    try await createNamespace(reference?.stringValue ?? emptyDirectory)
  }

  /// FLUX_KVS_TREEOBJ: the tree object itself, also of a link.
  private static let treeObject: Int64 = 16

  // MARK: The logs

  /// How long the namespace may take to come into being.
  private static let creationTime = Duration.seconds(5)

  /// Appends to logs of the job, all in one transaction.
  func append(_ logs: [(key: String, text: String)]) async throws {
    let operations = logs.filter { !$0.text.isEmpty }.map { key, text -> JSON in
      ["key": .string(key), "flags": 32, "dirent": KVSWriter.treeObject(text)]
    }
    guard !operations.isEmpty else { return }
    let request: JSON = ["namespace": .string(namespace), "flags": 0, "ops": .array(operations)]
    let end = ContinuousClock.now + Self.creationTime
    var pause = Duration.milliseconds(2)
    while true {
      do {
        await roots.note(try await origin.rpc("kvs.commit", request), of: id)
        return
      } catch let error as RPCError where ContinuousClock.now < end && error.errnum == Errnum.notSupported.rawValue {
        // ENOTSUP: there is no such namespace yet.
        try await Task.sleep(for: pause)
        pause = min(pause * 2, .milliseconds(200))
      }
    }
  }

  // MARK: The end

  /// Puts the logs, which are whole, into the job's directory, and has the plugin let the job go.
  func close(_ holds: DelegatedJob.Holds) async -> DelegatedJob.Event {
    do {
      try await graft()
      try await letGo(holds, nil)
      return .written
    } catch { return .unwritten("the job's end: \(error)") }
  }

  /// The same for a job that was ended, as far as it is possible. One that runs has ended with that status.
  func release(_ holds: DelegatedJob.Holds, _ status: WaitStatus?, hasLogs: Bool) async {
    do {
      if hasLogs { try await graft() }
    } catch { log.warning("\(id): its logs could not be moved: \(error)") }
    do { try await letGo(holds, status) } catch { log.debug("\(id): \(error)") }
  }

  private func letGo(_ holds: DelegatedJob.Holds, _ status: WaitStatus?) async throws {
    var request: JSONObject = ["id": id.json, "prolog": .bool(holds.prolog), "epilog": .bool(holds.epilog)]
    if let status { request["status"] = .int(Int64(status.rawValue)) }
    try await origin.rpc("job-manager.delegate.release", .object(request))
  }

  private func graft() async throws {
    guard let root = try await root() else { return }
    try await writer.put("\(directory).guest", treeObject: root)
    try await removeNamespace()
    await roots.forget(id)
  }

  /// The namespace's root directory: known from the last commit, or asked for. Nil: it is not there, for an earlier agent has got so far.
  private func root() async throws -> JSON? {
    if let known = await roots.root(of: id) { return ["ver": 1, "type": "dirref", "data": [.string(known)]] }
    do {
      let found = try await origin.rpc(
        "kvs.lookup", ["namespace": .string(namespace), "key": ".", "flags": .int(Self.treeObject)])
      return found["val"].flatMap { $0.objectValue == nil ? nil : $0 }
    } catch let error as RPCError where error.errnum == Errnum.notSupported.rawValue { return nil }
  }
}
